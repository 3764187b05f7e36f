return redis.call('HMGET', KEYS[1], 'a', 'b')[2]
