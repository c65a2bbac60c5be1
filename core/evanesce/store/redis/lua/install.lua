-- Replace the rules and the bans of a room, unless it has newer ones, and tell of a removal.
-- KEYS: state, members, channel, bans, voted, away, and with a removal `at` for each server. ARGV: epoch, keep, version, ttl, access, locked (1 or 0), encrypted
-- (1 or 0), the room's creator, the user who is removed (or ''), the reason as JSON, until when the user is banned
-- (or 0), how long the ban of a vote lasts, and how long it is noted who was removed, in milliseconds, 1 if the bans
-- follow, then for each ban the subject and its end, also of those that have ended in the meantime. After away.lua.
-- Returns nil if the room is closed; 0, and does nothing, if it needs the bans; otherwise the users in it.

if state.closed then return false end

if tonumber(ARGV[3]) > state.rv then
  if ARGV[14] == '0' then return 0 end
  redis.call('DEL', KEYS[4])
  local bans, known, last = {}, {}, 0
  for i = 15, #ARGV, 2 do
    local ends = tonumber(ARGV[i + 1])
    known[ARGV[i]] = ends
    if ends > now then
      bans[#bans + 1] = ARGV[i + 1]
      bans[#bans + 1] = ARGV[i]
      last = math.max(last, ends)
    end
  end
  in_steps(bans, function(...) redis.call('ZADD', KEYS[4], ...) end)
  -- The database knows better about the bans of votes, but for votes since a ban of the same person has ended.
  local voted = state.vu > now and redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES') or {}
  local replaced = {}
  for i = 1, #voted, 2 do
    if (known[voted[i]] or 0) >= tonumber(voted[i + 1]) - tonumber(ARGV[12]) then
      replaced[#replaced + 1] = voted[i]
    end
  end
  forget(KEYS[5], replaced)
  if last > 0 then
    redis.call('PEXPIRE', KEYS[4], math.max(1, math.min(tonumber(ARGV[2]), last - now)))
  end
  redis.call('HSET', KEYS[1], 'rv', ARGV[3], 'ttl', ARGV[4], 'access', ARGV[5], 'locked', ARGV[6], 'bu', last)
  lines[#lines + 1] = table.concat({ 'o', unpack(ARGV, 3, 8) }, ' ')
end

if ARGV[9] ~= '' then
  note_away(KEYS[6], {}, { ARGV[9] }, ARGV[13])
  lines[#lines + 1] = string.format('k %.0f %s %s %s', state.t, ARGV[11], ARGV[9], ARGV[10])
  remove_all(7, ARGV[9])
end
publish()
return redis.call('HKEYS', KEYS[2])
