-- Remove users from a room on one server. KEYS: state, members, channel, at, away. ARGV: epoch, keep, how long those
-- who have lost their connection may come back, in milliseconds, how many these are, then the users, these first.
-- Returns the number of users in the room on all servers, and which of these users are on none any more.

local lost, left = {}, {}
for i = 5, #ARGV do
  local gone = remove(KEYS[4], ARGV[i])
  if i >= 5 + tonumber(ARGV[4]) then
    left[#left + 1] = ARGV[i]
  elseif gone then
    lost[#lost + 1] = ARGV[i]
  end
end
if not state.closed then
  note_away(KEYS[5], lost, left, ARGV[3])
  publish()
end
return { redis.call('HLEN', KEYS[2]), departed }
