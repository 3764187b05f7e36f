for field, value in pairs(cjson.decode(ARGV[1])) do
  redis.call('HINCRBY', KEYS[1], field, value)
end
