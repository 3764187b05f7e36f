local members = redis.call('SMEMBERS', KEYS[1])
table.sort(members)
return {members[1], table.concat(members, ',')}
