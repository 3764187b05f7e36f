local keys = redis.call('KEYS', ARGV[1] .. '*')
return #keys
