return redis.call('SORT', KEYS[1], 'BY', 'weight_*')
