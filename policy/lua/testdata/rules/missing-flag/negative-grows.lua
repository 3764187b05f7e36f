#!lua
redis.call('UNLINK', KEYS[2])
return redis.call('LPUSH', KEYS[1], ARGV[1])
