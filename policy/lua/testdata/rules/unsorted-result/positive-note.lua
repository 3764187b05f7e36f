for _, m in ipairs(redis.call('SINTER', KEYS[1], KEYS[2])) do
  redis.call('XADD', KEYS[3], '*', 'member', m)
end
