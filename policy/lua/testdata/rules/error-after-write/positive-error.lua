redis.call('LPUSH', KEYS[1], ARGV[1])
if redis.call('LLEN', KEYS[1]) > 10 then
  error('too many')
end
