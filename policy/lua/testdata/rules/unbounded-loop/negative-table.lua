local todo = {1, 2, 3}
while #todo > 0 do
  table.remove(todo)
end
