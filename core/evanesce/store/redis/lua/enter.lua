-- People come in on one server. KEYS: state, people, channel, at.
-- ARGV: epoch, keep, capacity, roster, then for each user the id and the name as JSON.
-- Answers: nil where the room is closed; else count, version, who (or nil), and who found no place.

if state.closed then return false end
local refused = {}
for i = 5, #ARGV, 2 do
  if not add(KEYS[4], ARGV[i], ARGV[i + 1], tonumber(ARGV[3])) then
    refused[#refused + 1] = ARGV[i]
  end
end
publish()
local count, version, people = present(ARGV[4])
return { count, version, people, refused }
