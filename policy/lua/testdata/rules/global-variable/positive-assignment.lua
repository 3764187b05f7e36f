total = 0
for i = 1, #KEYS do
  total = total + #KEYS[i]
end
return total
