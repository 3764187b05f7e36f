repeat
  redis.call('INCR', KEYS[1])
until false
