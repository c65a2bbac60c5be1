-- Add users to a room on one server: those who may join. KEYS: state, members, channel, at, bans, voted, away, mutes, the votes
-- that run.
-- ARGV: epoch, keep, capacity, roster, the version of the rules that the caller knows, the room's creator, 1 if the caller
-- knows who may not write and the votes, then for each user the id, the name as JSON, the subject, 1 if admitted by an
-- invite, and 1 if the database knows that the connection was lost before Redis lost its data.
-- Returns nil if the room is closed; 0 if its rules are missing or older than the caller's; otherwise the room's time,
-- count, version, the users (or nil), the id, the bar and the end of the ban (or 0) of each one who may not join, the
-- rules (nil unless newer than the caller's): version, ttl, access, locked, and who may not write until when (or nil),
-- and the votes that run (or nil), and who was in the room on no server before.
-- After mutes.lua.

if state.closed then return false end
if state.rv < tonumber(ARGV[5]) then return 0 end
if state.bu > now and redis.call('PEXPIRE', KEYS[5], math.min(tonumber(ARGV[2]), state.bu - now)) == 0 then
  -- The room was in use for so long without a join that the bans have expired: the rules are installed anew.
  redis.call('HSET', KEYS[1], 'rv', 0, 'bu', 0)
  return 0
end

-- Return when the ban of a person ends; 0 if there is none.
local function banned_until(subject)
  local ends = state.bu > now and end_of(KEYS[5], subject) or 0
  return math.max(ends, state.vu > now and end_of(KEYS[6], subject) or 0)
end

local invited_only = state.access == 'invite'

local function may_come_back(user, returns)
  return end_of(KEYS[7], user) or (returns == '1' and not end_of(KEYS[7], ':' .. user))
end

local function bar_of(user, subject, admitted, returns)
  local ends = banned_until(subject)
  if ends > 0 then return 'banned', ends end
  if not (state.locked or invited_only) or user == ARGV[6] or redis.call('HEXISTS', KEYS[2], user) == 1 then
    return nil
  end
  if state.locked and not may_come_back(user, returns) then return 'locked', 0 end
  if invited_only and admitted ~= '1' then return 'uninvited', 0 end
  return nil
end

local barred = {}
for i = 8, #ARGV, 5 do
  local bar, ends = bar_of(ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
  if not bar and not add(KEYS[4], ARGV[i], ARGV[i + 1], tonumber(ARGV[3])) then
    bar, ends = 'full', 0
  end
  if bar then
    barred[#barred + 1] = { ARGV[i], bar, ends }
  elseif state.mu > now then
    local muted_until = take_over(KEYS[8], ARGV[i], ARGV[i + 2])
    if muted_until then lines[#lines + 1] = string.format('q %.0f %s', muted_until, ARGV[i]) end
  end
end
publish()
local count, version, members = present(ARGV[4])
local newer = state.rv > tonumber(ARGV[5])
return {
  state.t, count, version, members, barred, newer and { state.rv, state.ttl, state.access, state.locked and 1 or 0 },
  ARGV[7] == '0' and state.mu > now
    and redis.call('ZRANGEBYSCORE', KEYS[8], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES'),
  ARGV[7] == '0' and redis.call('HGETALL', KEYS[9]), arrived
}
