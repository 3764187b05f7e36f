local GET = 'get'
return redis.call(GET, KEYS[1])
