-- lint: class=read
redis.call('PUBLISH', KEYS[1], 'seen')
return redis.call('GET', KEYS[1])
