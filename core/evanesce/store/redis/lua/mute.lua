-- Forbid a user to write, or allow it again. KEYS: state, channel, mutes. ARGV: epoch, keep, the user, for how long, in
-- milliseconds (0: allow it again).
-- Returns nil if the room is closed; otherwise until when the user may not write (or 0), as a string.

local state = ruled()
if state.closed then return false end
local ends = 0
if tonumber(ARGV[4]) > 0 then
  ends = now + tonumber(ARGV[4])
  add_until(KEYS[3], { ARGV[3] }, ends)
else
  forget(KEYS[3], { ARGV[3] })
end
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or 0)
if last > now then
  redis.call('PEXPIRE', KEYS[3], last - now)
end
keep(state)
redis.call('HSET', KEYS[1], 'mu', last)
ends = string.format('%.0f', ends)
redis.call('SPUBLISH', KEYS[2], state.epoch .. '\nq ' .. ends .. ' ' .. ARGV[3])
return ends
