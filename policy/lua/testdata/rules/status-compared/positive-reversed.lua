local same = 'none' ~= redis.call('TYPE', KEYS[1])
return same and 1 or 0
