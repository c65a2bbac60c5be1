-- Renew a server's lease, or take one. KEYS: leases, lives, since, heard.
-- ARGV: the server, how long in milliseconds, `renew` or `take`, its name for as long as it lives, how long its life
-- is remembered, and after how long without a word from any server it was Redis that was away, all in milliseconds.
-- A lease that ran out is not renewed: others may be taking the server's people out of their rooms this moment.
-- Answers: 1 or 0, the time in milliseconds, the servers whose leases ran out, and since when anything is remembered.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local heard = tonumber(redis.call('GET', KEYS[4]) or now)
if now - heard > tonumber(ARGV[6]) then
  -- No lease could be renewed meanwhile: that time does not count, or all servers would clear up behind each other.
  for _, key in ipairs({ KEYS[1], KEYS[2] }) do
    for _, server in ipairs(redis.call('ZRANGEBYSCORE', key, heard, '+inf')) do
      redis.call('ZINCRBY', key, now - heard, server)
    end
  end
end
redis.call('SET', KEYS[4], now, 'PX', ARGV[5])
redis.call('SET', KEYS[3], now, 'NX')
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
local held = ARGV[3] == 'take' or (ends and tonumber(ends) > now)
if held then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
local ran_out = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
return { held and 1 or 0, now, ran_out, tonumber(redis.call('GET', KEYS[3])) }
