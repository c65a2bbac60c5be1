-- The second part of each script about messages, after room.lua: the longest TTL of the room's messages, and its end.
-- A message that lives no longer than the default TTL needs no record. `long` in the state is for the others:
-- "TTL END TTL END". Until the first END no message has a TTL longer than the first; until the second, those that end
-- after the first END have none longer than the second. So what lived long counts until its end, and no longer than the
-- longest TTL after it. 0: none.

local function lifetimes(record)
  local found = { ttl = 0, ends = 0, later_ttl = 0, later_ends = 0, record = record or '' }
  if found.record == '' then return found end
  local ttl, ends, later_ttl, later_ends = string.match(record, '^(%d+) (%d+) (%d+) (%d+)$')
  found.ttl, found.ends, found.later_ttl, found.later_ends =
    tonumber(ttl), tonumber(ends), tonumber(later_ttl), tonumber(later_ends)
  if found.ends <= now then
    found.ttl, found.ends, found.later_ttl, found.later_ends = found.later_ttl, found.later_ends, 0, 0
  end
  if found.ends <= now then
    found.ttl, found.ends, found.record = 0, 0, ''
  end
  return found
end

-- Record that a message with this TTL, which is longer than the default, is stored now.
local function lives(found, ttl)
  local ends = now + ttl
  if ttl >= found.ttl then
    found.ttl, found.ends = ttl, math.max(ends, found.ends, found.later_ends)
    found.later_ttl, found.later_ends = 0, 0
  elseif ends > found.ends then
    found.later_ttl, found.later_ends = math.max(found.later_ttl, ttl), math.max(found.later_ends, ends)
  else
    return
  end
  found.record = string.format('%.0f %.0f %.0f %.0f', found.ttl, found.ends, found.later_ttl, found.later_ends)
end

-- Return the time from which on messages that are alive were stored, and when the last of them ends at the latest.
local function span(found, default)
  return now - math.max(default, found.ttl), math.max(now + default, found.ends, found.later_ends)
end
