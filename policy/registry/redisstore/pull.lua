-- Answers what a reader of revision ARGV[1] with token ARGV[2] lacks: revision, token, time,
-- "same", "delta" or "full", and names with manifests (an empty one means removed).
local problem = check_types()
if problem then return redis.error_reply(problem) end
local revision, token = position()
if not revision then return redis.error_reply(token) end
if revision == ARGV[1] and token == ARGV[2] then return {revision, token, '', 'same'} end

local at = redis.call('HGET', KEYS[1], '!at') or ''

-- A delta is good only for a reader whose revision is in this store's history, and while the
-- set of changed names is whole.
local function delta_possible()
  local known, from = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], '!delta-from') or 'none')
  if not from or known < from or known >= tonumber(revision) then return false end
  local entry = redis.call('XRANGE', KEYS[4], ARGV[1] .. '-0', ARGV[1] .. '-0')[1]
  if not entry or entry[2][2] ~= ARGV[2] then return false end
  local newest = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  return newest[2] and tonumber(newest[2]) == tonumber(revision)
end

if delta_possible() then
  local out = {revision, token, at, 'delta'}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf')) do
    out[#out + 1] = name
    out[#out + 1] = redis.call('HGET', KEYS[1], name) or ''
  end
  return out
end

local out = {revision, token, at, 'full'}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) ~= '!' then
    out[#out + 1] = all[i]
    out[#out + 1] = all[i + 1]
  end
end
return out
