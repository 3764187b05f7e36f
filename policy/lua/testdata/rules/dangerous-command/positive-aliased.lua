local run = redis.pcall
return run('swapdb', 0, 1)
