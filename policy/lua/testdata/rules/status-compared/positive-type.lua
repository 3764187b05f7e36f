return redis.call('TYPE', KEYS[1]) == 'hash'
