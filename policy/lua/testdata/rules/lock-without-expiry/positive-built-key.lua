return redis.call('SET', KEYS[1] .. ':mutex', ARGV[1], 'nx')
