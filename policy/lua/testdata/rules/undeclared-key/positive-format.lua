return redis.call('GET', string.format('user:%s', ARGV[1]))
