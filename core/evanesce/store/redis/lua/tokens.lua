-- Take tokens out of a bucket. KEYS: the bucket, which holds when it will be full again, in milliseconds.
-- ARGV: how many are wanted, how many it gets in a millisecond, and how many it takes.
-- Answers: how many there were, and after how many milliseconds, as a text, there is one where there was none.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local wanted, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
-- Rounding must not cost the last one of a burst.
local taken = math.min(wanted, math.floor(burst - (full - now) * rate + 1e-6))
if taken < 1 then return { 0, string.format('%.3f', full - now - (burst - 1) / rate) } end
full = full + taken / rate
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.max(1, math.ceil(full - now)))
return { taken, '0' }
