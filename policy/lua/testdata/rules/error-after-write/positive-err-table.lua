redis.call('HSET', KEYS[1], 'state', ARGV[1])
if redis.call('HGET', KEYS[1], 'locked') then
  return {err = 'LOCKED'}
end
return 1
