if ARGV[1] == 'set' then
  return redis.call('SET', KEYS[1], ARGV[2])
else
  return redis.error_reply('ERR unknown action')
end
