-- Writes the heartbeat ARGV[2] of the proxy ARGV[1], adding the server's time, and drops those
-- that were last seen ARGV[3] milliseconds ago.
local have = redis.call('TYPE', KEYS[1]).ok
if have ~= 'none' and have ~= 'hash' then
  return redis.error_reply('WRONGSTORE key ' .. KEYS[1] .. ' is of type ' .. have .. ' and should be a hash: it belongs to something else; choose another namespace, or remove the key')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local seen = tonumber(string.match(all[i + 1], '^%d+') or '0')
  if now - seen > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'OK'
