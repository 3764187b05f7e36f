return redis.call('ZRANGE', KEYS[1], 0, 0)[1]
