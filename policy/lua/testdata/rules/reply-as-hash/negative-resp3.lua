redis.setresp(3)
return redis.call('HGETALL', KEYS[1]).map
