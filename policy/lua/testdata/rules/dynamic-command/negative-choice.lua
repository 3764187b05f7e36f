local push = ARGV[1] == 'head' and 'LPUSH' or 'RPUSH'
return redis.call(push, KEYS[1], ARGV[2])
