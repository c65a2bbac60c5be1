-- Take a message back.
-- KEYS: state, index, channel, the message, its tombstone. ARGV: epoch, keep, ttl, the message's id, who asks.
-- Answers: `closed`, `none`, `other` or `done`.

local state = room()
if state.closed then return 'closed' end
local known = redis.call('GET', KEYS[4])
if not known then return 'none' end
local message = cjson.decode(known)
if message.senderId ~= ARGV[5] then return 'other' end

local left = math.max(1, redis.call('PTTL', KEYS[4]))
state.n = state.n + 1
redis.call('XADD', KEYS[2], 'MINID', '~', now - tonumber(ARGV[3]), string.format('%.0f-%.0f', state.t, state.n),
  'w', ARGV[4], 'until', now + left)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('SET', KEYS[5], '', 'PX', left)
keep(state)
redis.call('SPUBLISH', KEYS[3],
  state.epoch .. string.format('\nw %.0f %.0f %.0f ', state.t, state.n, state.c) .. ARGV[4])
return 'done'
