local ids = redis.call('LRANGE', KEYS[1], 0, -1)
for first = 1, #ids, 1000 do
  redis.call('SADD', KEYS[2], unpack(ids, first, math.min(first + 999, #ids)))
end
