setfenv(1, setmetatable({}, {__index = function() return 0 end}))
return 1
