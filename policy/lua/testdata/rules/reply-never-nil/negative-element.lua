local list = redis.call('LRANGE', KEYS[1], 0, 1)
if list[2] == nil then
  return 0
end
return 1
