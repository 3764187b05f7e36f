local wallet = KEYS[1]
local had = tonumber(redis.call('GET', wallet) or '0')
local left = had - tonumber(ARGV[1])
return redis.call('SET', wallet, left)
