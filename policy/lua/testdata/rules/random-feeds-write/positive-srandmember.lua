local winner = redis.call('SRANDMEMBER', KEYS[1])
return redis.call('SMOVE', KEYS[1], KEYS[2], winner)
