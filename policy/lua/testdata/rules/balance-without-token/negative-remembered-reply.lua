local balance, done = KEYS[1], KEYS[2]
local before = redis.call('GET', done)
if before then
  return before
end
local after = redis.call('INCRBY', balance, ARGV[1])
redis.call('SET', done, after, 'EX', 86400)
return after
