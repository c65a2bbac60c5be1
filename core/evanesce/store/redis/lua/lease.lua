-- Renew a server's lease, or take one. KEYS: leases, lives, since.
-- ARGV: the server, how long in milliseconds, `renew` or `take`, its name for as long as it lives, and how long its life
-- is remembered, in milliseconds.
-- A lease that ran out is not renewed: others may be taking the server's people out of their rooms this moment.
-- Answers: 1 or 0, the time in milliseconds, the servers whose leases ran out.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('SET', KEYS[3], now, 'NX')
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
local held = ARGV[3] == 'take' or (ends and tonumber(ends) > now)
if held then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
return { held and 1 or 0, now, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100) }
