local count = redis.call('GET', KEYS[1])
return cuont
