-- lint: class=read
return redis.call('JSON.GET', KEYS[1])
