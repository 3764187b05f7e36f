for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i], 'EX', 60)
end
