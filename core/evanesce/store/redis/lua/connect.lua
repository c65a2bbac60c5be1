-- Record how many connections a user has on one server. KEYS: the user's connections, by server.
-- ARGV: the server, the number, the limit for all servers, how long the counts are kept, in milliseconds, then the
-- servers that are gone.
-- Returns nil if the number was recorded; otherwise the other servers to which the user is connected.

for i = 5, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
local total, others = tonumber(ARGV[2]), {}
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  if known[i] ~= ARGV[1] then
    total = total + tonumber(known[i + 1])
    others[#others + 1] = known[i]
  end
end
if total > tonumber(ARGV[3]) then return others end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return false
