-- Answers the server's time in milliseconds and all heartbeats.
local have = redis.call('TYPE', KEYS[1]).ok
if have ~= 'none' and have ~= 'hash' then
  return redis.error_reply('WRONGSTORE key ' .. KEYS[1] .. ' is of type ' .. have .. ' and should be a hash: it belongs to something else; choose another namespace, or remove the key')
end
local time = redis.call('TIME')
local out = {string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))}
for _, v in ipairs(redis.call('HGETALL', KEYS[1])) do out[#out + 1] = v end
return out
