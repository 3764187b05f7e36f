local lockKey = KEYS[1]
return redis.call('SETNX', lockKey, ARGV[1])
