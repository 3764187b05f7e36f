local sum = 0
for i = 1, #KEYS do
  local v = redis.call('GET', KEYS[i])
  sum = sum + (tonumber(v) or 0)
end
return sum
