redis.call('HSET', KEYS[1], 'a', 1)
local n = assert(tonumber(ARGV[1]), 'not a number')
return n
