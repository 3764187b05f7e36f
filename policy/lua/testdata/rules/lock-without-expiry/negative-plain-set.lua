local lockKey = KEYS[1]
return redis.call('SET', lockKey, ARGV[1])
