-- Give a room's state a new epoch, unless it has another one already: what was numbered in the old one is not all
-- there any more, as a replica that had not heard of everything took its primary's place.
-- KEYS: state, channel. ARGV: epoch, keep, the old epoch.

local state = room()
if state.epoch == ARGV[3] and not state.closed then
  state.epoch = ARGV[1]
  state.n, state.v = math.max(state.n, now * 1000), math.max(state.v, now * 1000)
  keep(state)
  redis.call('SPUBLISH', KEYS[2], state.epoch)
end
return 1
