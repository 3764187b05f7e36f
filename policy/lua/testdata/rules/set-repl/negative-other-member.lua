redis.log(redis.LOG_NOTICE, 'set_repl')
return redis.sha1hex(ARGV[1])
