-- Count a vote for the removal of a user. KEYS: state, members, channel, bans, voted, away, the vote, the votes that
-- run, and `at` for each server.
-- ARGV: epoch, keep, the voter, the subject of the voter, the user, the subject of the user, the room's creator, how
-- long a vote lasts and how long its ban, in milliseconds, how many votes are noted as running, and how long it is noted
-- who was removed, in milliseconds. After away.lua.
-- Returns nil if the room is closed; why the vote is not counted; or the votes, how many are needed, when the vote
-- ends, and until when the user is banned if removed (otherwise 0), both as strings.
-- The vote is a hash: the account of each voter by the subject, `:expires`, and once the user is removed `:votes`,
-- `:needed` and `:until`. Of the votes that run there is a hash too: by the user, how many votes there are, how many are
-- needed, the end, and until when the user is banned if removed (otherwise 0): a server that has missed the removal reads
-- it there.

if state.closed then return false end

local function is_present(user)
  return redis.call('HEXISTS', KEYS[2], user) == 1
end

local voter, voter_subject, user, subject, creator = unpack(ARGV, 3, 7)
if not is_present(voter) then return 'not_member' end
if user == creator then return 'creator' end
local banned = state.bu > now and end_of(KEYS[4], subject) or state.vu > now and end_of(KEYS[5], subject)
local known = redis.call('HMGET', KEYS[7], ':expires', ':votes', ':needed', voter_subject, ':until')
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
if is_present(creator) then return 'creator' end
local people = redis.call('HLEN', KEYS[2])
if people < 3 then return 'too_few' end

local function has_space()
  if redis.call('HLEN', KEYS[8]) < tonumber(ARGV[10]) then return true end
  local running = redis.call('HGETALL', KEYS[8])
  for i = 1, #running, 2 do
    local ends, removed_until = string.match(running[i + 1], '(%d+) (%d+)$')
    if tonumber(ends) <= now or removed_until ~= '0' then redis.call('HDEL', KEYS[8], running[i]) end
  end
  return redis.call('HLEN', KEYS[8]) < tonumber(ARGV[10])
end

local expires = known[1]
if not expires then
  expires = string.format('%.0f', now + tonumber(ARGV[8]))
  redis.call('HSET', KEYS[7], ':expires', expires)
  redis.call('PEXPIRE', KEYS[7], ARGV[8])
end
redis.call('HSET', KEYS[7], voter_subject, voter)
local flat, voters = redis.call('HGETALL', KEYS[7]), {}
for i = 1, #flat, 2 do
  if string.sub(flat[i], 1, 1) ~= ':' and flat[i] ~= subject then
    voters[#voters + 1] = flat[i + 1]
  end
end
local votes = 0
in_steps(voters, function(...)
  for _, present in ipairs(redis.call('HMGET', KEYS[2], ...)) do
    if present then votes = votes + 1 end
  end
end)
local others = people - (user_is_present and 1 or 0)
local needed = math.max(2, math.floor(others / 2) + 1)
local banned_until = '0'
if votes >= needed then
  local ends = now + tonumber(ARGV[9])
  banned_until = string.format('%.0f', ends)
  redis.call('HSET', KEYS[7], ':votes', votes, ':needed', needed, ':until', banned_until)
  redis.call('PEXPIRE', KEYS[7], ARGV[8])
  add_until(KEYS[5], { subject }, ends)
  redis.call('PEXPIRE', KEYS[5], ARGV[9])
  redis.call('HSET', KEYS[1], 'vu', ends)
  note_away(KEYS[6], {}, { user }, ARGV[11])
  lines[#lines + 1] = string.format('b %d %d %s %s %s', votes, needed, expires, banned_until, user)
  lines[#lines + 1] = string.format('k %.0f %s %s "vote"', state.t, banned_until, user)
  remove_all(9, user)
end
if redis.call('HEXISTS', KEYS[8], user) == 1 or has_space() then
  redis.call('HSET', KEYS[8], user, string.format('%d %d %s %s', votes, needed, expires, banned_until))
  redis.call('PEXPIRE', KEYS[8], ARGV[8])
end
if banned_until == '0' and not known[4] then
  lines[#lines + 1] = string.format('b %d %d %s 0 %s', votes, needed, expires, user)
end
publish()
return { votes, needed, expires, banned_until }
