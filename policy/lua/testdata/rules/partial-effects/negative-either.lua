if ARGV[1] == 'left' then
  redis.call('LPUSH', KEYS[1], ARGV[2])
else
  redis.call('RPUSH', KEYS[1], ARGV[2])
end
