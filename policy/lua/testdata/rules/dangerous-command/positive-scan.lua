return redis.call('SCAN', ARGV[1], 'COUNT', 100)[2]
