local n = 0
for _ in pairs(cjson.decode(ARGV[1])) do
  n = n + 1
end
return redis.call('INCRBY', KEYS[1], n)
