return redis.call('OBJECT', 'ENCODING', KEYS[1])
