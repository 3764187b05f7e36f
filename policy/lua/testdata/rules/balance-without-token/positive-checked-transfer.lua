local fromAccount, toAccount, amount = KEYS[1], KEYS[2], tonumber(ARGV[1])
if tonumber(redis.call('GET', fromAccount) or '0') < amount then
  return 0
end
redis.call('DECRBY', fromAccount, amount)
redis.call('INCRBY', toAccount, amount)
return 1
