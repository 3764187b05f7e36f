table.foreach(KEYS, redis.call)
return 1
