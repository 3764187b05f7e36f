#!lua readonly
return redis.call('GET', KEYS[1])
