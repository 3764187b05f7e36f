local lock = KEYS[1]
if redis.call('EXISTS', lock) == 1 then
  return redis.call('UNLINK', lock)
end
return 0
