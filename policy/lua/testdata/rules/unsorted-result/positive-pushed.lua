for _, m in ipairs(redis.call('SUNION', KEYS[1], KEYS[2])) do
  redis.call('RPUSH', KEYS[3], m)
end
