#!lua flags=no-writes
local list, out = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #list, 2 do
  out[list[i]] = list[i + 1]
end
return cjson.encode(out)
