-- Finishes a job whose lock ARGV[1] still holds. KEYS: job, lock, active list, finished set, events.
local job, lock, active, finished, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, id, now, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', job) == 0 then
  return -1
end
if redis.call('GET', lock) ~= token then
  return -2
end
redis.call('DEL', lock)
local removed = redis.call('LREM', active, -1, id)
if removed < 1 then
  return -3
end
redis.call('ZADD', finished, now, id)
redis.call('HSET', job, 'result', result, 'finishedAt', now)
redis.call('XADD', events, '*', 'event', 'completed', 'job', id)
local keep = tonumber(ARGV[5])
if keep and keep > 0 then
  redis.call('ZREMRANGEBYRANK', finished, 0, -keep - 1)
end
return 0
