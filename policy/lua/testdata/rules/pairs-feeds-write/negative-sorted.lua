local names = {}
for name in pairs(cjson.decode(ARGV[1])) do
  names[#names + 1] = name
end
table.sort(names)
return redis.call('LPUSH', KEYS[1], unpack(names))
