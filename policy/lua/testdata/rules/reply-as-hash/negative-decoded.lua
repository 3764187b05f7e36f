local user = cjson.decode(redis.call('GET', KEYS[1]))
return user.name
