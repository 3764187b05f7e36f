local prefix = ARGV[1]
local user = prefix .. ':user:' .. ARGV[2]
redis.call('HSET', user, 'seen', 1)
redis.call('SADD', prefix .. ':users', ARGV[2])
return redis.call('HGETALL', user)
