-- The second part of the scripts about messages, after room.lua: the longest TTL of the room's messages, and its end.
-- A message that lives no longer than the default TTL needs no record. `long` in the state is for the others:
-- "TTL END TTL END". Until the first END no message has a TTL longer than the first; until the second, those that end
-- after the first END have none longer than the second. So what lived long counts until its end, and no longer than the
-- longest TTL after it. 0: none.

local function lifetimes(record)
  local ttl, ends, later_ttl, later_ends = string.match(record, '^(%d+) (%d+) (%d+) (%d+)$')
  local found = {
    ttl = tonumber(ttl), ends = tonumber(ends), later_ttl = tonumber(later_ttl), later_ends = tonumber(later_ends),
    record = record
  }
  if found.ends <= now then
    found.ttl, found.ends, found.later_ttl, found.later_ends = found.later_ttl, found.later_ends, 0, 0
  end
  return found
end

-- Record that a message with this TTL, which is longer than the default, is stored now. Return the new record.
local function lives(found, ttl)
  local ends = now + ttl
  found = found or { ttl = 0, ends = 0, later_ttl = 0, later_ends = 0 }
  if ttl >= found.ttl or found.ends <= now then
    found.ttl, found.ends = ttl, math.max(ends, found.ends, found.later_ends)
    found.later_ttl, found.later_ends = 0, 0
  elseif ends > found.ends then
    found.later_ttl, found.later_ends = math.max(found.later_ttl, ttl), math.max(found.later_ends, ends)
  else
    return found
  end
  found.record = string.format('%.0f %.0f %.0f %.0f', found.ttl, found.ends, found.later_ttl, found.later_ends)
  return found
end

-- Return the time from which on messages that are alive were stored, and when the last of them ends at the latest.
local function span(found, default)
  if not found or found.ends <= now then return now - default, now + default end
  return now - math.max(default, found.ttl), math.max(now + default, found.ends, found.later_ends)
end
