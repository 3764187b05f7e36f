local id = redis.call('SPOP', KEYS[1])
if id then
  redis.call('LPUSH', KEYS[2], id)
end
return id
