local stats = {load = 5}
return stats.load
