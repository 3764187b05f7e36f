local cmd = {'ZADD', KEYS[1]}
for i = 1, #ARGV do
  table.insert(cmd, ARGV[i])
end
return redis.call(unpack(cmd))
