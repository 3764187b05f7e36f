-- lint: name=lock-release
-- Releases the lock KEYS[1] if ARGV[1] is still its token.
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('del', KEYS[1])
else
  return 0
end
