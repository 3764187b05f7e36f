#!lua
-- Takes the lock KEYS[1] with the token ARGV[1] for ARGV[2] milliseconds.
local lock = KEYS[1]
if redis.call('SET', lock, ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return 0
