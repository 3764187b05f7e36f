for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  redis.call('PERSIST', KEYS[2] .. id)
end
