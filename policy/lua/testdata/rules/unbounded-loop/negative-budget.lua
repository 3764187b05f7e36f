local function spend(budget)
  redis.call('LPOP', KEYS[1])
  return budget - 1
end
local budget = 10
while budget > 0 do
  budget = spend(budget)
end
