-- Forbid a user to write, or allow it again. KEYS: state, channel, mutes. ARGV: epoch, keep, the user, the subject of the
-- user (or '' where it is not known), for how long, in milliseconds (0: allow it again), how many people may be muted.
-- Returns nil if the room is closed; 'full' if too many are muted; otherwise until when the user may not write (or 0), as
-- a string. After mutes.lua.

local state = ruled()
if state.closed then return false end
local user = ARGV[3]
local person = mark(ARGV[4] ~= '' and ARGV[4] or user)
local known = {} -- the ends of the person's mute
for _, member in ipairs({ user, person, mark(user) }) do
  local score = redis.call('ZSCORE', KEYS[3], member)
  if score then known[score] = true end
end
local ends = 0
if tonumber(ARGV[5]) > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  local people, muted = {}, redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
  local count = 0
  for i = 1, #muted, 2 do
    local score = muted[i + 1]
    if is_mark(muted[i]) and not known[score] and not people[score] then
      people[score] = true
      count = count + 1
    end
  end
  if count >= tonumber(ARGV[6]) then return 'full' end
end
for score in pairs(known) do redis.call('ZREMRANGEBYSCORE', KEYS[3], score, score) end
if tonumber(ARGV[5]) > 0 then
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
