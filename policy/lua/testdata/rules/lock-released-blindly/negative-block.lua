local block = KEYS[1]
return redis.call('DEL', block)
