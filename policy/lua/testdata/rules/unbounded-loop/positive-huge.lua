for i = 1, math.huge do
  redis.call('INCR', KEYS[1])
end
