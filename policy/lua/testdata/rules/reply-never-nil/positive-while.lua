local v = redis.call('LPOP', KEYS[1])
local n = 0
while v ~= nil and n < 10 do
  n = n + 1
  v = redis.call('LPOP', KEYS[1])
end
return n
