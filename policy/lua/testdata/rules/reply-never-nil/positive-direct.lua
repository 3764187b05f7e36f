if redis.call('HGET', KEYS[1], 'a') ~= nil then
  return 1
end
return 0
