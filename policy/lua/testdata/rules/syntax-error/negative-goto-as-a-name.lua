local goto = KEYS[1]
return redis.call('GET', goto)
