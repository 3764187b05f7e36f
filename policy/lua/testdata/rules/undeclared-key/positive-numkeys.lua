return redis.call('ZUNIONSTORE', KEYS[1], 2, KEYS[2], 'global:scores')
