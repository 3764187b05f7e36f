redis.set_repl(redis.REPL_NONE)
redis.call('SET', KEYS[1], ARGV[1])
redis.set_repl(redis.REPL_ALL)
