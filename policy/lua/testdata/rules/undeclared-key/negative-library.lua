#!lua name=lib
local function f(keys, args)
  return redis.call('HGET', keys[1], args[1])
end
redis.register_function{function_name = 'f', callback = f, flags = {'no-writes'}}
