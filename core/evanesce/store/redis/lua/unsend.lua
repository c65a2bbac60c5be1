-- Unsend a message.
-- KEYS: state, index, channel, the message, its tombstone. ARGV: epoch, keep, ttl, how much longer the index is kept,
-- the message's id, the user.
-- Returns `closed`, `none` (there is no such message), `other` (it has another sender) or `done`.

local state = room()
if state.closed then return 'closed' end
local known = redis.call('GET', KEYS[4])
if not known then return 'none' end
local message = cjson.decode(known)
if message.senderId ~= ARGV[6] then return 'other' end

local ttl, grace = tonumber(ARGV[3]), tonumber(ARGV[4])
local left = math.max(1, redis.call('PTTL', KEYS[4]))
state.n = state.n + 1
redis.call('XADD', KEYS[2], 'MINID', '~', now - ttl - grace, string.format('%.0f-%.0f', state.t, state.n),
  'w', ARGV[5], 'until', now + left, 'kept', now + ttl)
redis.call('PEXPIRE', KEYS[2], ttl + grace)
redis.call('DEL', KEYS[4])
redis.call('SET', KEYS[5], '', 'PX', left)
keep(state)
redis.call('SPUBLISH', KEYS[3],
  state.epoch .. string.format('\nw %.0f %.0f %.0f ', state.t, state.n, state.c) .. ARGV[5])
return 'done'
