if not redis.call('SISMEMBER', KEYS[1], ARGV[1]) then
  return redis.call('SADD', KEYS[1], ARGV[1])
end
return 0
