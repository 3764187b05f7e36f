return redis.call('SORT_RO', KEYS[1], 'LIMIT', 0, 10)
