return redis.call('SET', KEYS[1], math.random(1000000))
