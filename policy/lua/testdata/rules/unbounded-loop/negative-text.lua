local pos, parts = 1, {}
while pos do
  local stop = string.find(ARGV[1], ',', pos, true)
  parts[#parts + 1] = string.sub(ARGV[1], pos, (stop or 0) - 1)
  pos = stop and stop + 1
end
return parts
