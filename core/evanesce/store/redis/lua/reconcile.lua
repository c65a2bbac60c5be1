-- Set the users of one server in a room. KEYS: state, members, channel, `at`, and `at` for the earlier name of the
-- server (or `at` again). ARGV: epoch, keep, then for each user the id and the name as JSON.

if state.closed then
  redis.call('DEL', KEYS[4], KEYS[5])
  return 0
end
local here = {}
for i = 3, #ARGV, 2 do
  here[ARGV[i]] = true
  add(KEYS[4], ARGV[i], ARGV[i + 1], math.huge)
  rename(ARGV[i], ARGV[i + 1])
end
for _, user in ipairs(redis.call('HKEYS', KEYS[4])) do
  if not here[user] then remove(KEYS[4], user) end
end
if KEYS[5] ~= KEYS[4] then
  for _, user in ipairs(redis.call('HKEYS', KEYS[5])) do
    remove(KEYS[5], user)
  end
end
publish()
return 1
