local id = redis.call('LPOP', KEYS[1])
if id then
  redis.call('LPUSH', KEYS[2], id)
end
return id
