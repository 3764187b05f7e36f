local id = redis.call('LPOP', KEYS[1])
if id then
  redis.call('DEL', KEYS[2] .. id .. ':lock')
end
return id
