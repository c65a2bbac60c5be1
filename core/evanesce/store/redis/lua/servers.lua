-- Say until when each server lives or lived, and forget those of long ago. KEYS: lives, since, heard.
-- ARGV: how long, in milliseconds, every server has to be heard of after the memory was lost; how long one is
-- remembered; and after how long without a word from any server it was Redis that was away.
-- Answers: nil where the first is not over yet, or nobody has been heard of since Redis was away; else names and times
-- in milliseconds, in turn.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local since = redis.call('GET', KEYS[2])
local heard = redis.call('GET', KEYS[3])
if not since or now - tonumber(since) < tonumber(ARGV[1]) then return false end
if not heard or now - tonumber(heard) > tonumber(ARGV[3]) then return false end
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))) do
  redis.call('ZREM', KEYS[1], server)
end
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
