return redis.call('GET', ARGV[1])
