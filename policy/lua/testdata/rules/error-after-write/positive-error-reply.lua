local left = redis.call('HINCRBY', KEYS[1], 'seats', -1)
if left < 0 then
  return redis.error_reply('FULL no seat left')
end
return left
