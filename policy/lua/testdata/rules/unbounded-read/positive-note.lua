local list, map = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #list, 2 do
  map[list[i]] = list[i + 1]
end
return cjson.encode(map)
