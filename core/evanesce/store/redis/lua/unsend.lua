-- Unsend a message.
-- KEYS: state, index, channel, the message, its tombstone. ARGV: epoch, keep, default TTL, how much longer the index is
-- kept, the message's id, the user.
-- Returns `closed`, `none` (there is no such message), `other` (it has another sender) or `done`.

local state, had = room('long')
if state.closed then return 'closed' end
local known = redis.call('GET', KEYS[4])
if not known then return 'none' end
local message = cjson.decode(known)
if message.senderId ~= ARGV[6] then return 'other' end

local grace = tonumber(ARGV[4])
local left = math.max(1, redis.call('PTTL', KEYS[4]))
-- The entry is kept for as long as any message: so it ends after those before it.
local since, last = span(had[7] and lifetimes(had[7]), tonumber(ARGV[3]))
state.n = state.n + 1
local entry = { 'w', ARGV[5], 'until', now + left, 'kept', last }
if state.t ~= now then -- the clock was set back
  entry[7], entry[8] = 'at', now
end
redis.call('XADD', KEYS[2], 'MINID', '~', since - grace, string.format('%.0f-%.0f', state.t, state.n), unpack(entry))
redis.call('PEXPIRE', KEYS[2], last - now + grace)
redis.call('DEL', KEYS[4])
redis.call('SET', KEYS[5], '', 'PX', left)
keep(state)
redis.call('SPUBLISH', KEYS[3],
  state.epoch .. string.format('\nw %.0f %.0f %.0f ', state.t, state.n, state.c) .. ARGV[5])
return 'done'
