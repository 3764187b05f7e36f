local n = 0
while n < 100 do
  if not redis.call('RPOPLPUSH', KEYS[1], KEYS[2]) then
    break
  end
  n = n + 1
end
return n
