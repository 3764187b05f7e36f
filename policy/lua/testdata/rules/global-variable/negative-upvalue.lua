local a, b
do
  a, b = 1, 2
end
return a + b
