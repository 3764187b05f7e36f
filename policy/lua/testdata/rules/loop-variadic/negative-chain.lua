local key = KEYS[1]
for _ = 1, 100 do
  local next_key = redis.call('GET', key)
  if not next_key then
    break
  end
  key = next_key
end
return key
