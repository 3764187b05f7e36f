local r = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if r == 'OK' then
  return 1
end
return 0
