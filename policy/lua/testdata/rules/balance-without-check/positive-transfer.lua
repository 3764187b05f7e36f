local fromAccount, toAccount, amount = KEYS[1], KEYS[2], tonumber(ARGV[1])
if redis.call('EXISTS', fromAccount) == 0 then
  return 0
end
redis.call('INCRBY', fromAccount, -amount)
redis.call('INCRBY', toAccount, amount)
return 1
