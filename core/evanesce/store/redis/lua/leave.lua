-- People leave on one server. KEYS: state, people, channel, at. ARGV: epoch, keep, then the users.
-- Answers how many are there on all servers.

for i = 3, #ARGV do
  remove(KEYS[4], ARGV[i])
end
if not state.closed then publish() end
return redis.call('HLEN', KEYS[2])
