return redis.call('SORT', KEYS[1], 'STORE', 'sorted')
