-- lint: name=unlock
return redis.call('DEL', KEYS[1])
