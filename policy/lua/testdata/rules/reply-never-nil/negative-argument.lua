if ARGV[1] == nil then
  return 0
end
return redis.call('GET', KEYS[1])
