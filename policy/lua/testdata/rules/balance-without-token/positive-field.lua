return redis.call('HINCRBYFLOAT', KEYS[1], 'credit', ARGV[1])
