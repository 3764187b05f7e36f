redis.replicate_commands()
return redis.call('SET', KEYS[1], redis.call('TIME')[1])
