return redis.call('HINCRBY', KEYS[1], 'balance', -tonumber(ARGV[1]))
