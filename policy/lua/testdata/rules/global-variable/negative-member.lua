local t = {}
t.total = 1
function t.get() return t.total end
function t:add(n) self.total = self.total + n end
return t.get()
