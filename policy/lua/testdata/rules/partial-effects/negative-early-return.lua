if ARGV[1] == 'left' then
  return redis.call('LPUSH', KEYS[1], ARGV[2])
end
return redis.call('RPUSH', KEYS[1], ARGV[2])
