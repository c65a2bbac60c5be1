-- Close a room: nothing is stored in it any more. The caller erases its content.
-- KEYS: state, members, channel, bans, voted, mutes, away, votes. ARGV: epoch, keep, reason, the reason as JSON.

local state = room()
if not state.closed then
  keep(state)
  redis.call('HSET', KEYS[1], 'closed', ARGV[3])
  redis.call('SPUBLISH', KEYS[3], state.epoch .. '\nx ' .. ARGV[4])
end
redis.call('DEL', KEYS[2], unpack(KEYS, 4))
return 1
