local user = redis.call('HGETALL', KEYS[1])
return user.name
