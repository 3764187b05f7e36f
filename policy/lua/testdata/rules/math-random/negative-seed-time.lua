local t = redis.call('TIME')
math.randomseed(tonumber(t[2]))
return math.random(100)
