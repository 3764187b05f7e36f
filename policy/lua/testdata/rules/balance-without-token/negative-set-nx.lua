local balance = KEYS[1]
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', 86400) then
  return redis.call('GET', balance)
end
return redis.call('INCRBY', balance, ARGV[1])
