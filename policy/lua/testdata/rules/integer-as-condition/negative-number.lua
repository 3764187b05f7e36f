local n = redis.call('INCR', KEYS[1])
if n and n > 5 then
  return 0
end
return n
