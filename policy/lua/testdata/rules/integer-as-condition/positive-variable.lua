local taken = redis.call('SETNX', KEYS[1], ARGV[1])
if taken and ARGV[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return taken
