redis.call('SET', KEYS[1], ARGV[1])
return redis.call('WAIT', 1, 100)
