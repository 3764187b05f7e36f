return redis.call('MIGRATE', ARGV[1], 6379, KEYS[1], 0, 1000)
