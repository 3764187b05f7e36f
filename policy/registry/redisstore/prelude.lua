-- KEYS: state, bodies, changed, audit.
local FORMAT = '1'
local TYPES = {'hash', 'hash', 'zset', 'stream'}

local function check_types()
  for i, want in ipairs(TYPES) do
    local have = redis.call('TYPE', KEYS[i]).ok
    if have ~= 'none' and have ~= want then
      return 'WRONGSTORE key ' .. KEYS[i] .. ' is of type ' .. have .. ' and should be a ' .. want ..
        ': it belongs to something else; choose another namespace, or remove the key'
    end
  end
end

-- The store's revision and token; in a store without state the revision goes on where the audit
-- log ends, and the token is empty. On trouble nil and what is wrong.
local function position()
  local have = redis.call('HMGET', KEYS[1], '!revision', '!token', '!format')
  if not have[1] and not have[2] and not have[3] then
    if redis.call('EXISTS', KEYS[1]) == 1 then
      return nil, 'WRONGSTORE key ' .. KEYS[1] .. ' is a hash without a revision: scriptproxy did not write it; choose another namespace, or remove the key'
    end
    local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
    return last and string.match(last[1], '^%d+') or '0', ''
  end
  if have[3] ~= FORMAT then
    return nil, 'WRONGSTORE key ' .. KEYS[1] .. ' has format ' .. tostring(have[3]) .. ', and this scriptproxy knows ' .. FORMAT ..
      ': another release wrote it; run one release in the fleet'
  end
  if not have[1] or not string.match(have[1], '^[1-9]%d*$') or #have[1] > 15 or not have[2] or have[2] == '' then
    return nil, 'WRONGSTORE key ' .. KEYS[1] .. ' has no valid revision and token: it was damaged; restore it from a backup, or remove the key'
  end
  return have[1], have[2]
end
