return table.concat(redis.call('HKEYS', KEYS[1]), ',')
