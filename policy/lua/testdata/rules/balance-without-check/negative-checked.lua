local balance, token = KEYS[1], KEYS[2]
if redis.call('EXISTS', token) == 1 then
  return 1
end
local amount = tonumber(ARGV[1])
local had = tonumber(redis.call('GET', balance) or '0')
if had < amount then
  return 0
end
redis.call('SET', token, 1, 'EX', 3600)
redis.call('DECRBY', balance, amount)
return 1
