redis.call('LPUSH', KEYS[1], ARGV[1])
local r = redis.pcall('HSET', KEYS[2], ARGV[1], 1)
if r.err then
  redis.pcall('LPOP', KEYS[1])
end
return r
