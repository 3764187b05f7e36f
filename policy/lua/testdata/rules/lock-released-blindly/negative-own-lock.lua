local lock = KEYS[1]
if not redis.call('SET', lock, ARGV[1], 'NX', 'EX', 5) then
  return 0
end
redis.call('INCR', KEYS[2])
return redis.call('DEL', lock)
