local lockKey = KEYS[1]
if redis.call('SETNX', lockKey, ARGV[1]) == 1 then
  redis.call('PEXPIRE', lockKey, ARGV[2])
  return 1
end
return 0
