redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return redis.error_reply('LIMIT')
end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
