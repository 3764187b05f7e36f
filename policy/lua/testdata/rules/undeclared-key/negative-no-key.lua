return redis.call('PUBLISH', 'news', ARGV[1])
