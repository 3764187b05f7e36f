local source, target = KEYS[1], KEYS[2]
local function move(from, to)
  return redis.call('RPOPLPUSH', from, to)
end
return move(source, target)
