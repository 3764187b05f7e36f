local function touch(id)
  redis.call('PERSIST', KEYS[2] .. id)
end
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf')
for _, id in ipairs(ids) do
  touch(id)
end
