local function get(call, key)
  return call('GET', key)
end
return get(redis.call, KEYS[1])
