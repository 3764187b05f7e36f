-- Counts to ARGV[1] while everybody else on the server waits: 100000000 takes about
-- a second.
local count = 0
for _ = 1, tonumber(ARGV[1]) or 1000 do
  count = count + 1
end
return count
