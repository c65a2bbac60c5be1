-- Overwrite what is left of earlier commands and answers outside of keys. ARGV: text that is as long as the buffer that
-- commands are read into may be, which it overwrites; and how much of it is as long as the buffer for answers.
-- As the answer, it overwrites that buffer. PING does the same with the buffer for the answers to commands of scripts.

local filler = string.sub(ARGV[1], 1, ARGV[2])
redis.call('PING', filler)

-- Lua joins strings in two buffers: one for the operator, and one of 8 KB on the stack for its library.
local pieces = {}
for number = 1, 33 do
  pieces[number] = string.sub(filler, 1, 256)
end
local joined = ARGV[1] .. table.concat(pieces)

-- Redis collects Lua's garbage only little by little, and only while scripts run.
collectgarbage('collect')
return string.sub(joined, 1, #filler)
