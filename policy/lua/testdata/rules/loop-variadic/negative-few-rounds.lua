for i = 1, 3 do
  redis.call('SADD', KEYS[1], ARGV[i])
end
