local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 10)
local out = {}
for i, entry in ipairs(entries) do
  out[i] = entry['id']
end
return out
