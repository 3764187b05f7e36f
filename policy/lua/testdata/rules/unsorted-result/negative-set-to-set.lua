local members = redis.call('SMEMBERS', KEYS[1])
if #members > 0 then
  redis.call('SADD', KEYS[2], unpack(members))
end
return #members
