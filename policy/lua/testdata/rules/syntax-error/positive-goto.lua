for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    goto continue
  end
  redis.call('PERSIST', KEYS[i])
  ::continue::
end
