local user = redis.call('HGETALL', KEYS[1]) or {}
return user['name']
