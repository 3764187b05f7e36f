local lockKey = KEYS[1]
return redis.call('DEL', lockKey)
