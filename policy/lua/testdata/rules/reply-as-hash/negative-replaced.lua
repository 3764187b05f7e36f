local v = redis.call('GET', KEYS[1])
v = cjson.decode(v)
return v.name
