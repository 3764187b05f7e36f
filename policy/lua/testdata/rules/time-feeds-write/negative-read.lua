local t = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], '-inf', t[1])
