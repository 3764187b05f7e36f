for i, key in ipairs(KEYS) do
  redis.call('INCRBY', key, ARGV[i])
end
