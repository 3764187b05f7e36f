local cmd = {'GET', KEYS[1]}
return redis.call(unpack(cmd))
