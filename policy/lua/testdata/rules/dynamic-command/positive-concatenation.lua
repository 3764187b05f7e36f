return redis.call('FLU' .. 'SHDB')
