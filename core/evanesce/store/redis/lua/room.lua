-- The first part of each script about a room. KEYS[1] is the room's state. ARGV[1] is an epoch, for a room without
-- state.
-- ARGV[2] is how long the state is kept after its last use, in milliseconds, plus or minus a minute.
-- Numbers have up to 16 digits. Redis accepts them as they are, but Lua rounds from the 15th digit on when it converts
-- numbers to strings. So numbers in strings are formatted with %.0f.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- n counts entries (messages, and messages that were unsent), and v changes of presence. They start at the time, so
-- that they are larger than before if the state was lost. c counts messages. t is the time of the last entry, join or
-- removal, which never decreases, even if the clock is set back: a removal is at no earlier time than the joins before
-- it. The second result has further fields of the state, from the seventh element on, for scripts that name them.
local function room(...)
  local had = redis.call('HMGET', KEYS[1], 'epoch', 'n', 'c', 't', 'v', 'closed', ...)
  if not had[1] then
    return { epoch = ARGV[1], n = now * 1000, c = 0, t = now, v = now * 1000, closed = false, used = 0 }, had
  end
  local t = tonumber(had[4])
  return {
    epoch = had[1], n = tonumber(had[2]), c = tonumber(had[3]), t = math.max(now, t), v = tonumber(had[5]),
    closed = had[6], used = t
  }, had
end

-- Return the state with what it has of the room's rules. rv is their version, 0 where the room has none; only with
-- rules there are ttl, access and locked. bu, vu and mu are when the last ban, the last ban by a vote and the last mute
-- end: until then there may be any.
local function ruled()
  local state, had = room('rv', 'ttl', 'access', 'locked', 'bu', 'vu', 'mu')
  state.rv, state.ttl = tonumber(had[7] or 0), had[8] and tonumber(had[8])
  state.access, state.locked = had[9], had[10] == '1'
  state.bu, state.vu, state.mu = tonumber(had[11] or 0), tonumber(had[12] or 0), tonumber(had[13] or 0)
  return state
end

local function keep(state)
  redis.call('HSET', KEYS[1], 'epoch', state.epoch, 'n', state.n, 'c', state.c, 't', state.t, 'v', state.v)
  if now - state.used > 60000 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
