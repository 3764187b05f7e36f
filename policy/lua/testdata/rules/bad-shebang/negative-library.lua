#!lua name=counters
redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)
