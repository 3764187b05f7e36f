return {redis.call('FLUSHALL'), redis.call('FLUSHDB', 'ASYNC')}
