local lock = KEYS[1]
local holder = redis.call('GET', lock)
return holder == ARGV[1] and 1 or 0
