local r = redis.pcall('SET', KEYS[1], ARGV[1])
return r.ok or r['err']
