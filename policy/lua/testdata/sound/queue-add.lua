-- Adds a job: its hash at KEYS[1], its id to the list KEYS[2] or the sorted set KEYS[3].
local rcall = redis.call
local opts = cjson.decode(ARGV[3])
if rcall('EXISTS', KEYS[1]) == 1 then
  return ARGV[1]
end
rcall('HSET', KEYS[1], 'name', opts['name'] or 'job', 'data', ARGV[2], 'opts', ARGV[3])
local delay = tonumber(opts['delay'] or 0)
if delay > 0 then
  rcall('ZADD', KEYS[3], delay + tonumber(ARGV[4]), ARGV[1])
else
  local push = opts['lifo'] and 'RPUSH' or 'LPUSH'
  rcall(push, KEYS[2], ARGV[1])
end
rcall('XADD', KEYS[4], 'MAXLEN', '~', 1000, '*', 'event', 'added', 'job', ARGV[1])
return ARGV[1]
