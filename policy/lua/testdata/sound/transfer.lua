-- Moves ARGV[1] from account KEYS[1] to account KEYS[2], once for each token KEYS[3].
local from_account, to_account, token = KEYS[1], KEYS[2], KEYS[3]
local amount = tonumber(ARGV[1])
if not amount or amount <= 0 or amount ~= math.floor(amount) then
  return redis.error_reply('AMOUNT must be a positive integer')
end
local done = redis.call('GET', token)
if done then
  return done
end
local balance = tonumber(redis.call('GET', from_account) or '0')
if balance < amount then
  return redis.error_reply('INSUFFICIENT balance is ' .. balance)
end
redis.call('DECRBY', from_account, amount)
redis.call('INCRBY', to_account, amount)
redis.call('SET', token, balance - amount, 'EX', 86400)
return balance - amount
