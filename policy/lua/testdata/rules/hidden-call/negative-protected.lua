local ok, v = pcall(redis.call, 'GET', KEYS[1])
return ok and v
