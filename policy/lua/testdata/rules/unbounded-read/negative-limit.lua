local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', 0, 100)
for _, id in ipairs(ids) do
  redis.call('INCR', KEYS[2] .. id)
end
