local lockKey = KEYS[1]
return redis.call('SET', lockKey, ARGV[1], 'NX', ARGV[2], ARGV[3])
