if redis.call('HGET', KEYS[1], 'locked') then
  return redis.error_reply('LOCKED')
end
return redis.call('HSET', KEYS[1], 'state', ARGV[1])
