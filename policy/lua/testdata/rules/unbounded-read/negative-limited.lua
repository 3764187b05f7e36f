local ids = redis.call('LRANGE', KEYS[1], 0, 99)
for _, id in ipairs(ids) do
  redis.call('INCR', KEYS[2] .. id)
end
