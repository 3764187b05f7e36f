return math.floor(tonumber(ARGV[1]))
