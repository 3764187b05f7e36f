local n = 0
for i = 1, #ARGV do
  if #ARGV[i] > 3 then
    n = n + redis.call('SADD', KEYS[1], ARGV[i])
  end
end
return n
