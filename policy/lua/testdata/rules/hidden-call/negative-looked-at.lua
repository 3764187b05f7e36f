if not redis.replicate_commands then
  return 0
end
return redis.call('GET', KEYS[1])
