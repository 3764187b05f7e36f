local r = redis.pcall('LPUSH', KEYS[1], ARGV[1])
if type(r) == 'table' and r.err then
  return redis.error_reply(r.err)
end
return r
