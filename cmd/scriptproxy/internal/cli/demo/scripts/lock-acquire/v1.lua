-- Takes the lock KEYS[1] for the holder of the token ARGV[1] for ARGV[2]
-- milliseconds. Returns 1, or 0 when somebody has it.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return 0
