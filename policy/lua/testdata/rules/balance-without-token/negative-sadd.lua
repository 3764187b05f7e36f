local balance, seen = KEYS[1], KEYS[2]
if redis.call('SADD', seen, ARGV[2]) == 1 then
  redis.call('INCRBY', balance, ARGV[1])
end
return redis.call('GET', balance)
