-- Erase a room's index if its last entry is the last one whose message was erased.
-- KEYS: index. ARGV: the last entry whose message was erased. Returns nil if there is no index now; otherwise its last
-- entry.

local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last > 0 and last[1][1] ~= ARGV[1] then return last[1][1] end
redis.call('DEL', KEYS[1])
return false
