local lock = KEYS[1]
local token = redis.call('GET', lock)
if token ~= ARGV[1] then
  return 0
end
return redis.call('DEL', lock)
