local new = {}
for _, id in ipairs(ARGV) do
  if redis.call('SADD', KEYS[1], id) == 1 then
    new[#new + 1] = id
  end
end
return new
