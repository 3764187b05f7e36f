local first = redis.call('LRANGE', KEYS[1], 0, 9)
redis.call('UNLINK', KEYS[1])
return first
