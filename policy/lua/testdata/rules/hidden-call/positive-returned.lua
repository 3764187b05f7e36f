local function api()
  return redis
end
return api().call('GET', KEYS[1])
