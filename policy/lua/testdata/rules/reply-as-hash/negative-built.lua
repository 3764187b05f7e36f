local list, user = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #list, 2 do
  user[list[i]] = list[i + 1]
end
return user.name
