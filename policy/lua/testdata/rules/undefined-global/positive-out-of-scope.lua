if ARGV[1] then
  local limit = tonumber(ARGV[1])
end
return limit
