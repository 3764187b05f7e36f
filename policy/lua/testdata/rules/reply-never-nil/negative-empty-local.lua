local v
if ARGV[1] == 'x' then
  v = redis.call('GET', KEYS[1])
end
if v == nil then
  return 0
end
return v
