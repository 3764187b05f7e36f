if redis.call('TYPE', KEYS[1])['ok'] == 'hash' then
  return 1
end
return 0
