local random = math.random
return random()
