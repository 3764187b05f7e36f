local load = tonumber(ARGV[1])
return load
