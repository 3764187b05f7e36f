-- Keeps the lock KEYS[1] for another ARGV[2] milliseconds. Returns 1, or 0 when the
-- holder of the token ARGV[1] no longer has it.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
