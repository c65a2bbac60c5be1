-- Count a vote for the removal of a user. KEYS: state, members, channel, bans, voted, away, the vote.
-- ARGV: epoch, keep, the voter, the user, the subject of the user, the room's creator, how long a vote lasts and how
-- long its ban, in milliseconds.
-- Returns nil if the room is closed; why the vote is not counted; or the votes, how many are needed, when the vote
-- ends, and until when the user is banned if removed (otherwise 0), both as strings.
-- The vote is a hash: its voters, `:expires`, and once the user is removed `:votes`, `:needed` and `:until`.

if state.closed then return false end

local function is_present(user)
  return redis.call('HEXISTS', KEYS[2], user) == 1
end

local voter, user, subject = ARGV[3], ARGV[4], ARGV[5]
if not is_present(voter) then return 'not_member' end
if user == ARGV[6] then return 'creator' end
local banned = state.bu > now and end_of(KEYS[4], subject) or state.vu > now and end_of(KEYS[5], subject)
local known = redis.call('HMGET', KEYS[7], ':expires', ':votes', ':needed', voter, ':until')
if banned then
  -- The user is about to leave. A voter who did not get the answer asks again.
  if not (known[2] and known[4]) then return 'absent' end
  return { tonumber(known[2]), tonumber(known[3]), known[1], known[5] }
end
if known[2] then -- that vote has ended, and so has its ban
  redis.call('DEL', KEYS[7])
  known = {}
end
local user_is_present = is_present(user)
if not (user_is_present or known[1]) then return 'absent' end
if is_present(ARGV[6]) then return 'creator' end
-- The user counts as present while the vote lasts: leaving does not end it.
local others = redis.call('HLEN', KEYS[2]) - (user_is_present and 1 or 0)
if others + 1 < 3 then return 'too_few' end

local expires = known[1]
if not expires then
  expires = string.format('%.0f', now + tonumber(ARGV[7]))
  redis.call('HSET', KEYS[7], ':expires', expires)
  redis.call('PEXPIRE', KEYS[7], ARGV[7])
end
redis.call('HSET', KEYS[7], voter, '')
local votes = 0
in_steps(redis.call('HKEYS', KEYS[7]), function(...)
  local present = redis.call('HMGET', KEYS[2], ...)
  for i, field in ipairs({ ... }) do
    if present[i] and field ~= user then
      votes = votes + 1
    end
  end
end)
local needed = math.max(2, math.floor(others / 2) + 1)
local banned_until = '0'
if votes >= needed then
  local ends = now + tonumber(ARGV[8])
  banned_until = string.format('%.0f', ends)
  redis.call('HSET', KEYS[7], ':votes', votes, ':needed', needed, ':until', banned_until)
  redis.call('PEXPIRE', KEYS[7], ARGV[7])
  add_until(KEYS[5], { subject }, ends)
  redis.call('PEXPIRE', KEYS[5], ARGV[8])
  redis.call('HSET', KEYS[1], 'vu', ends)
  forget(KEYS[6], { user })
  lines[#lines + 1] = string.format('b %d %d %s %s %s', votes, needed, expires, banned_until, user)
  lines[#lines + 1] = string.format('k %.0f %s %s "vote"', state.t, banned_until, user)
elseif not known[4] then
  lines[#lines + 1] = string.format('b %d %d %s 0 %s', votes, needed, expires, user)
end
publish()
return { votes, needed, expires, banned_until }
