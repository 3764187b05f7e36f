-- lint: name=lock-renew
local lock, token, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('GET', lock) ~= token then
  return 0
end
return redis.call('PEXPIRE', lock, ttl)
