-- Start a new epoch for a room, unless it has a new one already: entries of the old one are lost, because a replica
-- without the newest data became the primary.
-- KEYS: state, channel. ARGV: epoch, keep, the old epoch.

local state = room()
if state.epoch == ARGV[3] and not state.closed then
  state.epoch = ARGV[1]
  state.n, state.v = math.max(state.n, now * 1000), math.max(state.v, now * 1000)
  keep(state)
  redis.call('SPUBLISH', KEYS[2], state.epoch)
end
return 1
