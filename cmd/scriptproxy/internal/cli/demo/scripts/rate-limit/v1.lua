-- Allows ARGV[1] calls within any ARGV[2] milliseconds, counted in the sorted set
-- KEYS[1]. Returns {1, calls left} when this one is allowed, else {0, milliseconds to
-- wait}.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
if not limit or not window or limit < 1 or window < 1 then
  return redis.error_reply('LIMIT and window must be numbers above 0')
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local oldest = now - window * 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', oldest))
local used = redis.call('ZCARD', KEYS[1])
if used >= limit then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {0, math.ceil((first[2] - oldest) / 1000)}
end
local score = string.format('%.0f', now)
redis.call('ZADD', KEYS[1], score, score .. ':' .. used)
redis.call('PEXPIRE', KEYS[1], window)
return {1, limit - used - 1}
