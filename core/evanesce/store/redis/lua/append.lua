-- Store messages, in order, and publish them.
-- KEYS: state, index, channel, then for each message its key and its tombstone.
-- ARGV: epoch, keep, ttl, how much longer the index is kept, when the messages have to expire at the latest (0: at any
-- time), then for each message its id, its sender and its JSON without the times and the closing brace.
-- Returns nil if the room is closed; 'late' and the time if they would expire too late; otherwise createdAt, expiresAt,
-- and for each message 1 (stored), 0 (conflict) or the two times of the message that exists already.

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

local state = room()
if state.closed then return false end

local ttl, grace, latest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if latest > 0 and now + ttl > latest then return string.format('late %.0f', now) end
local created, expires = rfc3339(now), rfc3339(now + ttl)
local times = ',"createdAt":"' .. created .. '","expiresAt":"' .. expires .. '"}'
local answers = { created, expires }
local lines = { state.epoch }

for i = 6, #ARGV, 3 do
  local id, sender = ARGV[i], ARGV[i + 1]
  local key = KEYS[4 + (i - 6) / 3 * 2]
  local known = redis.call('MGET', key, KEYS[5 + (i - 6) / 3 * 2])
  if known[1] then
    local message = cjson.decode(known[1])
    answers[#answers + 1] = message.senderId == sender and { message.createdAt, message.expiresAt } or 0
  elseif known[2] then
    answers[#answers + 1] = 0
  else
    local json = ARGV[i + 2] .. times
    state.n, state.c = state.n + 1, state.c + 1
    local t, n = string.format('%.0f', state.t), string.format('%.0f', state.n)
    redis.call('XADD', KEYS[2], 'MINID', '~', now - ttl - grace, t .. '-' .. n, 'm', id,
      'c', state.c, 'until', now + ttl)
    redis.call('SET', key, json, 'PX', ttl)
    answers[#answers + 1] = 1
    lines[#lines + 1] = string.format('m %s %s %.0f %.0f ', t, n, state.c, now + ttl) .. json
  end
end

if #lines > 1 then
  redis.call('PEXPIRE', KEYS[2], ttl + grace)
  keep(state)
  redis.call('SPUBLISH', KEYS[3], table.concat(lines, '\n'))
end
return answers
