-- lint: class=read
local call = redis.call
return call('GETDEL', KEYS[1])
