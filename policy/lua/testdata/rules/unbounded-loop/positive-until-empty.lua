local moved = 0
while true do
  local job = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  if not job then
    break
  end
  moved = moved + 1
end
return moved
