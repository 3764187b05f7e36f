local lock = KEYS[1]
if redis.call('GET', lock) == ARGV[1] then
  return redis.call('PEXPIRE', lock, ARGV[2])
end
return 0
