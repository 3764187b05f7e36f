for _, name in ipairs(cjson.decode(ARGV[1])) do
  redis.call('HINCRBY', KEYS[1], name, 1)
end
