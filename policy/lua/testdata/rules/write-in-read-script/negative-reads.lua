-- lint: class=read
return redis.call('GET', KEYS[1])
