-- Gives the lock KEYS[1] back. Returns 1, or 0 when the holder of the token ARGV[1]
-- no longer has it: somebody else's lock is left alone.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
