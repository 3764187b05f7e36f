local left = redis.call('HINCRBY', KEYS[1], 'seats', -1)
if left < 0 then
  redis.call('HINCRBY', KEYS[1], 'seats', 1)
  return redis.error_reply('FULL no seat left')
end
return left
