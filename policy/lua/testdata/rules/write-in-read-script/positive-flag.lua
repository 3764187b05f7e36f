#!lua flags=no-writes
local v = redis.call('GET', KEYS[1])
redis.call('INCR', KEYS[2])
return v
