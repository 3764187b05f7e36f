return assert(loadstring(ARGV[1]))()
