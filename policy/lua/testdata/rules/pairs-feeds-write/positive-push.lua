local fields = cjson.decode(ARGV[1])
for name, value in pairs(fields) do
  redis.call('RPUSH', KEYS[1], name .. '=' .. value)
end
