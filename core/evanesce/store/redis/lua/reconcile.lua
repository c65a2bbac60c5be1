-- Set the users of one server in a room. KEYS: state, members, channel, away, `at`, and `at` for the earlier name of
-- the server (or `at` again). ARGV: epoch, keep, how long those who have lost their connection may come back, in
-- milliseconds, how many users have left because they wanted to, these users, then for each user who is there the id
-- and the name as JSON. Returns the users who are on no server any more, and those who were on none before: these are
-- none in a room without state, which has lost its members with it.

if state.closed then
  redis.call('DEL', KEYS[5], KEYS[6])
  return { {}, {} }
end
local first = 5 + tonumber(ARGV[4])
local here, has_left, left, lost = {}, {}, {}, {}
for i = 5, first - 1 do
  has_left[ARGV[i]] = true
  left[#left + 1] = ARGV[i]
end
for i = first, #ARGV, 2 do
  here[ARGV[i]] = true
  add(KEYS[5], ARGV[i], ARGV[i + 1], math.huge)
  rename(ARGV[i], ARGV[i + 1])
end

-- Whoever is not there any more, and has not said so, has lost the connection: the server has stopped or died.
local function take_out(at, user)
  if remove(at, user) and not has_left[user] then
    lost[#lost + 1] = user
  end
end

for _, user in ipairs(redis.call('HKEYS', KEYS[5])) do
  if not here[user] then take_out(KEYS[5], user) end
end
if KEYS[6] ~= KEYS[5] then
  for _, user in ipairs(redis.call('HKEYS', KEYS[6])) do
    take_out(KEYS[6], user)
  end
end
note_away(KEYS[4], lost, left, ARGV[3])
publish()
return { departed, state.epoch == ARGV[1] and {} or arrived }
