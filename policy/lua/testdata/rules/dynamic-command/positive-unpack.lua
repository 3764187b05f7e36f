local cmd = {'GET', KEYS[1]}
cmd[1] = ARGV[1]
return redis.call(unpack(cmd))
