return redis.call('HGETALL', KEYS[1])['name']
