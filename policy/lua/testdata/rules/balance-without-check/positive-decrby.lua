local balance = KEYS[1]
return redis.call('DECRBY', balance, ARGV[1])
