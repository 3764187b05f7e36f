local total = 0
local function add(n)
  total = total + n
end
add(1)
return total
