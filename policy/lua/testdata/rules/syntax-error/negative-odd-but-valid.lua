--[= a comment of one line
local x = 0x1p4local y = "\v"
return {x, y, #"\x41"}
