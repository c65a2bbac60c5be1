-- Add users to a room on one server. KEYS: state, members, channel, at.
-- ARGV: epoch, keep, capacity, roster, then for each user the id and the name as JSON.
-- Returns nil if the room is closed; otherwise count, version, the users (or nil), and those for whom there is no
-- place.

if state.closed then return false end
local refused = {}
for i = 5, #ARGV, 2 do
  if not add(KEYS[4], ARGV[i], ARGV[i + 1], tonumber(ARGV[3])) then
    refused[#refused + 1] = ARGV[i]
  end
end
publish()
local count, version, members = present(ARGV[4])
return { count, version, members, refused }
