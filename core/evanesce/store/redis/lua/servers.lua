-- Return when the lease of each server expires, or expired, and forget old servers. KEYS: lives, since, heard.
-- ARGV: how long after a loss of data all servers have renewed their leases; how long a server is remembered; and after
-- how long without a renewal by any server Redis itself was down; in milliseconds.
-- Returns nil if the first time has not passed, or no server has renewed its lease since Redis was down; otherwise
-- names and times in milliseconds, alternating.

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
