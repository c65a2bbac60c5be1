-- Store messages, in order, and publish them.
-- KEYS: state, index, channel, mutes, then for each message its key and its tombstone.
-- ARGV: epoch, keep, default TTL, how much longer the index is kept, the TTL of the room as the caller knows it, until
-- when the messages have to be stored (0: at any time), the TTLs that messages have of their own (one number for each
-- message, 0 for none; empty if no message has one), the version of the rules that the caller knows, then for each
-- message its id, its sender and its JSON without the times and the closing brace.
-- Returns nil if the room is closed; 'again', the time and the room's TTL if that is another one, or if it is too late;
-- otherwise createdAt, the expiresAt of messages with the room's TTL, and for each message 1 (stored), its expiresAt
-- (stored, with another TTL), 0 (conflict), until when its sender may not write, or the two times of the message that
-- exists already.

-- After how many entries the index is trimmed. Redis trims it by nodes of about a hundred, so to try it for each entry
-- would mostly be in vain.
local TRIM = 16

-- The date of a day number, by Howard Hinnant's civil_from_days, for 1970 and later.
local function date(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1
end

local last_day, last_date -- both times of a message are mostly on the same day

local function rfc3339(ms)
  local seconds = math.floor(ms / 1000)
  local of_day = seconds % 86400
  local day = (seconds - of_day) / 86400
  if day ~= last_day then
    last_day, last_date = day, string.format('%04d-%02d-%02d', date(day))
  end
  return string.format('%sT%02d:%02d:%02d.%03dZ', last_date,
    math.floor(of_day / 3600), math.floor(of_day / 60) % 60, of_day % 60, ms % 1000)
end

local state, had = room('ttl', 'mu', 'long', 'rv')
if state.closed then return false end

local default, grace, latest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local room_ttl = tonumber(ARGV[5])
if had[7] and tonumber(had[10] or 0) > tonumber(ARGV[8]) then room_ttl = tonumber(had[7]) end
if room_ttl ~= tonumber(ARGV[5]) or (latest > 0 and now > latest) then
  return string.format('again %.0f %.0f', now, room_ttl)
end
local muted = had[8] and tonumber(had[8]) > now
local found = had[9] and lifetimes(had[9]) -- nil in most rooms
local record = found and found.record
local since, last = span(found, default)

local own -- the TTLs that messages have of their own
if ARGV[7] ~= '' then
  own = {}
  for ttl in string.gmatch(ARGV[7], '%d+') do own[#own + 1] = tonumber(ttl) end
end

local created, expires = rfc3339(now), rfc3339(now + room_ttl)
local before = ',"createdAt":"' .. created .. '","expiresAt":"'
local rest = expires .. '"}' -- the end of the JSON

-- Both tables have space for one message, the usual number, so that they need not grow. What is published is the epoch,
-- and a line for each message, in two parts: joined only once, as long strings cost most.
local answers, parts, last_part = { created, expires, 0 }, { state.epoch, '', '' }, 1

for i = 9, #ARGV, 3 do
  local id, sender = ARGV[i], ARGV[i + 1]
  local place = (i - 9) / 3
  local key, tombstone = KEYS[5 + 2 * place], KEYS[6 + 2 * place]
  local known = redis.call('MGET', key, tombstone)
  local mute = muted and tonumber(redis.call('ZSCORE', KEYS[4], sender) or 0)
  local answer = 1
  if known[1] then
    local message = cjson.decode(known[1])
    answer = message.senderId == sender and { message.createdAt, message.expiresAt } or 0
  elseif known[2] then
    answer = 0
  elseif mute and mute > now then
    answer = mute
  else
    local ttl, own_rest = room_ttl, rest
    if own and own[place + 1] > 0 and own[place + 1] < ttl then
      ttl = own[place + 1]
      answer = rfc3339(now + ttl)
      own_rest = answer .. '"}'
    end
    if ttl > default then
      found = lives(found, ttl)
      since, last = span(found, default)
    end
    local json, ends = ARGV[i + 2] .. before .. own_rest, now + ttl
    state.n, state.c = state.n + 1, state.c + 1
    local t, n = string.format('%.0f', state.t), string.format('%.0f', state.n)
    if state.t == now and state.n % TRIM > 0 then
      redis.call('XADD', KEYS[2], t .. '-' .. n, 'm', id, 'c', state.c, 'until', ends)
    else
      local entry = { t .. '-' .. n, 'm', id, 'c', state.c, 'until', ends }
      if state.t ~= now then entry[8], entry[9] = 'at', now end -- the clock was set back
      redis.call('XADD', KEYS[2], 'MINID', '~', since - grace, unpack(entry))
    end
    redis.call('SET', key, json, 'PXAT', ends)
    parts[last_part + 1], parts[last_part + 2] = string.format('\nm %s %s %.0f %.0f ', t, n, state.c, ends), json
    last_part = last_part + 2
  end
  answers[3 + place] = answer
end

if last_part > 1 then
  redis.call('PEXPIRE', KEYS[2], last - now + grace)
  if now - state.used > 60000 then
    keep(state)
  else -- the rest is as it was
    redis.call('HSET', KEYS[1], 'n', state.n, 'c', state.c, 't', state.t)
  end
  if found and found.record ~= record then redis.call('HSET', KEYS[1], 'long', found.record) end
  redis.call('SPUBLISH', KEYS[3], table.concat(parts, '', 1, last_part))
end
return answers
