local members = redis.call('SMEMBERS', KEYS[1])
return members[1]
