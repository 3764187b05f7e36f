if redis.call('SET', KEYS[1], ARGV[1], 'GET') == 'OK' then
  return 1
end
return 0
