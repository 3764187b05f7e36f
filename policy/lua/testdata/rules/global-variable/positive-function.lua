function double(n)
  return n * 2
end
return double(tonumber(ARGV[1]))
