-- Moves ARGV[1] from the account KEYS[1] to the account KEYS[2] and returns both
-- balances. Everything that can fail comes before the one write.
local amount = tonumber(ARGV[1])
if not amount or amount < 1 or amount ~= math.floor(amount) then
  return redis.error_reply('AMOUNT must be a whole number above 0')
end
if KEYS[1] == KEYS[2] then
  return redis.error_reply('ACCOUNT cannot transfer to itself')
end
local from = tonumber(redis.call('GET', KEYS[1]) or 0)
local to = tonumber(redis.call('GET', KEYS[2]) or 0)
if not from or not to then
  return redis.error_reply('ACCOUNT holds no number')
end
if from < amount then
  return redis.error_reply('INSUFFICIENT the balance is ' .. string.format('%.0f', from))
end
from, to = from - amount, to + amount
redis.call('MSET', KEYS[1], string.format('%.0f', from), KEYS[2], string.format('%.0f', to))
return {from, to}
