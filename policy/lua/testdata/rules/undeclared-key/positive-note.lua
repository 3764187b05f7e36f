local lock = KEYS[1] .. ':seen'
return redis.call('INCR', lock)
