-- Return the position of a room, and at the same moment the entries of its index after another position.
-- KEYS: state, index. ARGV: epoch, keep, ttl, how many entries, the epoch and the entry of the other position.
-- Returns epoch, t, n, c, v, closed (or ''), entries (after the position if it has the room's epoch, otherwise all that
-- may be alive), and the version of the rules.

local state = room()
if not state.closed then keep(state) end
local entries = {}
if tonumber(ARGV[4]) > 0 then
  local from = ARGV[5] == state.epoch and '(' .. ARGV[6] or now - tonumber(ARGV[3])
  entries = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])
end
return {
  state.epoch, string.format('%.0f', state.t), string.format('%.0f', state.n), string.format('%.0f', state.c),
  string.format('%.0f', state.v), state.closed or '', entries,
  state.rv
}
