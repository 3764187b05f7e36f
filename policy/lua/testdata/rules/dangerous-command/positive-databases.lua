redis.call('SELECT', 1)
return redis.call('RANDOMKEY')
