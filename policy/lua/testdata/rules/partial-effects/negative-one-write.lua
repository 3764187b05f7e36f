local n = redis.call('LLEN', KEYS[1])
if n < 100 then
  return redis.call('LPUSH', KEYS[1], ARGV[1])
end
return 0
