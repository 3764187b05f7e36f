-- Takes the next job of the queue with the key prefix KEYS[1], puts it among the active ones and locks it.
local call = redis.call
local waiting, active, stalled = KEYS[2], KEYS[3], KEYS[4]
local token, lock_time, now = ARGV[1], ARGV[2], ARGV[3]

local function start(id)
  local job = KEYS[1] .. id
  call('SET', job .. ':lock', token, 'PX', lock_time)
  call('SREM', stalled, id)
  call('HSET', job, 'startedAt', now)
  return {id, call('HGETALL', job)}
end

local id = call('RPOPLPUSH', waiting, active)
if not id then
  return false
end
return start(id)
