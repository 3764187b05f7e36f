if redis.call('GET', KEYS[1]) then
  return 'yes'
end
return 'no'
