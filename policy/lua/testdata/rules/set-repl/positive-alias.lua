local r = redis
r.set_repl(r.REPL_AOF)
return r.call('SET', KEYS[1], ARGV[1])
