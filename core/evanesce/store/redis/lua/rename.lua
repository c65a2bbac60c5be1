-- Change the name of a user who is in the room. KEYS: state, people, channel. ARGV: epoch, keep, user, name as JSON.

local count, known = servers(ARGV[3])
if count > 0 and known ~= ARGV[4] then
  redis.call('HSET', KEYS[2], ARGV[3], count .. ' ' .. ARGV[4])
  tell('r', ARGV[3], ARGV[4])
  publish()
end
return 1
