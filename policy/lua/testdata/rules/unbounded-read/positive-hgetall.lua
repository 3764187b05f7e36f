local list = redis.call('HGETALL', KEYS[1])
for i = 1, #list, 2 do
  redis.call('INCRBY', KEYS[2] .. list[i], list[i + 1])
end
