local call = redis.call
local job
if ARGV[1] then
  job = call('HMGET', KEYS[1], 'name', 'data')
end
return job.name
