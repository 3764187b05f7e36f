#!lua flags=no-writes
local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])
local list = redis.call('ZREVRANGE', KEYS[1], from, to, 'WITHSCORES')
local out = {}
for i = 1, #list, 2 do
  out[#out + 1] = {list[i], list[i + 1]}
end
return out
