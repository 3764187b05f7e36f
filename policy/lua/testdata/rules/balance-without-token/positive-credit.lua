local balance = KEYS[1]
return redis.call('INCRBY', balance, ARGV[1])
