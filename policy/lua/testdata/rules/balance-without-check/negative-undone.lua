local stock = KEYS[1]
local left = redis.call('DECRBY', stock, ARGV[1])
if left < 0 then
  redis.call('INCRBY', stock, ARGV[1])
  return 0
end
return 1
