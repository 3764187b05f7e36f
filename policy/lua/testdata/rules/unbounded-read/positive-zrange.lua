local ids = redis.call('ZRANGE', KEYS[1], '0', '-1')
for i = 1, #ids do
  redis.call('INCR', KEYS[2] .. ids[i])
end
