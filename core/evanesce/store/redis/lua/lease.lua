-- Renew or acquire (`take`) a server's lease. KEYS: leases, lives, since, heard.
-- ARGV: the holder of the lease, its length, `renew` or `take`, the name of the server, how long its expiry is
-- remembered, and after how long without a renewal by any server Redis itself was down; times in milliseconds.
-- An expired lease is not renewed: other servers may be removing the holder's members from their rooms.
-- Returns 1 or 0, the time in milliseconds, the holders of expired leases, and since when Redis has these records.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local heard = tonumber(redis.call('GET', KEYS[4]) or now)
if now - heard > tonumber(ARGV[6]) or now < heard then
  -- No lease could be renewed meanwhile, or the clock was set. That time does not count: otherwise all servers would
  -- take each other for dead, or none for dead until the clock is where it was.
  for _, key in ipairs({ KEYS[1], KEYS[2] }) do
    for _, server in ipairs(redis.call('ZRANGEBYSCORE', key, heard, '+inf')) do
      redis.call('ZINCRBY', key, now - heard, server)
    end
  end
end
redis.call('SET', KEYS[4], now, 'PX', ARGV[5])
local since = tonumber(redis.call('GET', KEYS[3]) or now)
redis.call('SET', KEYS[3], math.min(since, now))
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
local held = ARGV[3] == 'take' or (ends and tonumber(ends) > now)
if held then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
local ran_out = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
return { held and 1 or 0, now, ran_out, math.min(since, now) }
