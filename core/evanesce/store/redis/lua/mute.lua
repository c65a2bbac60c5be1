-- Forbid a user to write, or allow it again. KEYS: state, channel, mutes. ARGV: epoch, keep, the user, the subject of the
-- user (or '' where it is not known), for how long, in milliseconds (0: allow it again), how many people may be muted.
-- Returns nil if the room is closed; 'full' if too many are muted; otherwise until when the user may not write (or 0), as
-- a string. After mutes.lua.

local state = ruled()
if state.closed then return false end
local user = ARGV[3]
local person = mark(ARGV[4] ~= '' and ARGV[4] or user)
for _, member in ipairs({ user, person, mark(user) }) do
  local known = redis.call('ZSCORE', KEYS[3], member)
  if known then redis.call('ZREMRANGEBYSCORE', KEYS[3], known, known) end
end
local ends = 0
if tonumber(ARGV[5]) > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  local people = 0
  for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if is_mark(member) then people = people + 1 end
  end
  if people >= tonumber(ARGV[6]) then return 'full' end
  ends = now + tonumber(ARGV[5])
  while #redis.call('ZRANGEBYSCORE', KEYS[3], ends, ends, 'LIMIT', 0, 1) > 0 do ends = ends + 1 end
  add_until(KEYS[3], { user, person }, ends)
end
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or 0)
if last > now then
  redis.call('PEXPIRE', KEYS[3], last - now)
end
keep(state)
redis.call('HSET', KEYS[1], 'mu', last)
ends = string.format('%.0f', ends)
redis.call('SPUBLISH', KEYS[2], state.epoch .. '\nq ' .. ends .. ' ' .. user)
return ends
