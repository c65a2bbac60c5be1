-- Remove users from a room on one server. KEYS: state, members, channel, at. ARGV: epoch, keep, then the users.
-- Returns the number of users in the room on all servers.

for i = 3, #ARGV do
  remove(KEYS[4], ARGV[i])
end
if not state.closed then publish() end
return redis.call('HLEN', KEYS[2])
