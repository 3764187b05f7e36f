-- Replaces the state at one revision by the next. See scripts.go for keys and arguments.
local arg = 0
local function take() arg = arg + 1; return ARGV[arg] end
local function list()
  local out = {}
  for i = 1, tonumber(take()) do out[i] = take() end
  return out
end

local base, base_token, next, token, at, keep, channel = take(), take(), take(), take(), take(), take(), take()
local put, removed, need, drop, changes = list(), list(), list(), list(), list()

local problem = check_types()
if problem then return redis.error_reply(problem) end
local revision, current_token = position()
if not revision then return redis.error_reply(current_token) end

-- This very commit may have happened already, when its answer was lost.
local entry = redis.call('XRANGE', KEYS[4], next .. '-0', next .. '-0')[1]
if entry and entry[2][1] == 'token' and entry[2][2] == token then return 'OK' end

if revision ~= base or current_token ~= base_token then return 'CONFLICT' end
if tonumber(next) <= tonumber(revision) then
  return redis.error_reply('WRONGSTORE cannot go from revision ' .. revision .. ' to ' .. next)
end
for _, sha in ipairs(need) do
  if redis.call('HEXISTS', KEYS[2], sha) == 0 then
    return redis.error_reply('MISSINGBODY ' .. sha)
  end
end

-- The first write is the one that the server may refuse (memory, disk, role); after it none is.
for i, change in ipairs(changes) do
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', keep, next .. '-' .. (i - 1), 'token', token, 'change', change)
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('HSET', KEYS[1], '!delta-from', base)
end
for i = 1, #put, 2 do
  redis.call('HSET', KEYS[1], put[i], put[i + 1])
  redis.call('ZADD', KEYS[3], next, put[i])
end
for _, name in ipairs(removed) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZADD', KEYS[3], next, name)
end
for _, sha in ipairs(drop) do
  redis.call('HDEL', KEYS[2], sha)
end
redis.call('HSET', KEYS[1], '!revision', next, '!token', token, '!at', at, '!format', FORMAT)
-- Names that are long gone must not pile up: without the set, the next readers take everything.
if redis.call('ZCARD', KEYS[3]) > 2 * redis.call('HLEN', KEYS[1]) + 1000 then
  redis.call('DEL', KEYS[3])
end
redis.call('PUBLISH', channel, next)
return 'OK'
