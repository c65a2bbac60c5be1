-- Take tokens out of a bucket. KEYS: the bucket: a string with the time at which it will be full, in milliseconds.
-- ARGV: how many tokens are wanted, how many the bucket gains in a millisecond, and how many it holds.
-- Returns how many were taken and, if none, in how many milliseconds there will be one, as a string.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local wanted, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- An empty bucket takes the longest to fill: a later time was written before the clock was set back.
local full = math.min(math.max(now, tonumber(redis.call('GET', KEYS[1]) or now)), now + burst / rate)
-- Rounding must not cost the last token of a burst.
local taken = math.min(wanted, math.floor(burst - (full - now) * rate + 1e-6))
if taken < 1 then return { 0, string.format('%.3f', full - now - (burst - 1) / rate) } end
full = full + taken / rate
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.max(1, math.ceil(full - now)))
return { taken, '0' }
