local function try(...)
  local reply = redis.pcall(...)
  return reply
end
return try('INCR', KEYS[1])
