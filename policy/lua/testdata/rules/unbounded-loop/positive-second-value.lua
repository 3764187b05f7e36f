local id, more = nil, true
while more do
  id, more = unpack(redis.call('LRANGE', KEYS[1], 0, 1))
  redis.call('LPOP', KEYS[1])
end
return id
