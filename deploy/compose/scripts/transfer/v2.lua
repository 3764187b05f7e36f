-- Moves ARGV[1] from the account KEYS[1] to the account KEYS[2] and returns both
-- balances. With a third key, an idempotency token, the transfer is made once: a
-- second call with that token within a day changes nothing and returns what the
-- first one did. Everything that can fail comes before the first write.
local amount = tonumber(ARGV[1])
if not amount or amount < 1 or amount ~= math.floor(amount) then
  return redis.error_reply('AMOUNT must be a whole number above 0')
end
if KEYS[1] == KEYS[2] then
  return redis.error_reply('ACCOUNT cannot transfer to itself')
end
if KEYS[3] then
  local done = redis.call('GET', KEYS[3])
  if done then
    local from, to = string.match(done, '^(%d+) (%d+)$')
    if not from then
      return redis.error_reply('TOKEN is not one of a transfer')
    end
    return {tonumber(from), tonumber(to)}
  end
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
local newFrom, newTo = string.format('%.0f', from), string.format('%.0f', to)
if KEYS[3] then
  redis.call('SET', KEYS[3], newFrom .. ' ' .. newTo, 'EX', 86400)
end
redis.call('MSET', KEYS[1], newFrom, KEYS[2], newTo)
return {from, to}
