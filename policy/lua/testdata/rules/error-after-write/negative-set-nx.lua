if redis.call('SETNX', KEYS[1], ARGV[1]) == 0 then
  return redis.error_reply('EXISTS')
end
return 1
