#!lua name=ratelimit
local function take(keys, args)
  local n = redis.call('INCR', keys[1])
  if n == 1 then
    redis.call('EXPIRE', keys[1], args[1])
  end
  return n
end
local function peek(keys)
  return redis.call('GET', keys[1]) or '0'
end
redis.register_function('take', take)
redis.register_function{function_name = 'peek', callback = peek, flags = {'no-writes'}}
