local r, call = redis, redis.call
local pcall_ = r.pcall
call('GET', KEYS[1])
return pcall_('GET', KEYS[1])
