#!lua name=lib
redis.register_function('f', function(keys, args) return redis.call('GET', KEYS[1]) end)
