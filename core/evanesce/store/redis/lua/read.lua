-- Return the position of a room, and at the same moment the entries of its index after another position.
-- KEYS: state, index. ARGV: epoch, keep, default TTL, how many entries, the epoch and the entry of the other position.
-- Returns epoch, t, n, c, v, closed (or ''), entries (after the position if it has the room's epoch, otherwise all that
-- may be alive), the version of the rules, and the time.

local state, had = room('long', 'rv')
if not state.closed then keep(state) end
local entries = {}
if tonumber(ARGV[4]) > 0 then
  local from = ARGV[5] == state.epoch and '(' .. ARGV[6] or span(had[7] and lifetimes(had[7]), tonumber(ARGV[3]))
  entries = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])
end
return {
  state.epoch, string.format('%.0f', state.t), string.format('%.0f', state.n), string.format('%.0f', state.c),
  string.format('%.0f', state.v), state.closed or '', entries, tonumber(had[8] or 0), string.format('%.0f', now)
}
