while redis.call('LLEN', KEYS[1]) > 0 do
  redis.call('LPOP', KEYS[1])
end
