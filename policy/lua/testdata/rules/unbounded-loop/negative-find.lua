local first, last = 1, 1
local n = 0
while first do
  first, last = string.find(ARGV[1], ',', last + 1, true)
  n = n + 1
end
return n
