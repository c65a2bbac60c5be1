-- The first part of each script about presence, after room.lua. KEYS[2] is `members`, the users in the room on all
-- servers: user to "<number of servers> <name as JSON>". KEYS[3] is the channel. `at` has the users on one server.

local state = ruled()
local lines = { state.epoch }
-- Who has come into the room with this call, and who has left it, over all servers.
local arrived, departed = {}, {}

local function tell(kind, ...)
  state.v = state.v + 1
  local head = string.format('%s %d %.0f', kind, redis.call('HLEN', KEYS[2]), state.v)
  lines[#lines + 1] = table.concat({ head, ... }, ' ')
end

local function servers(user)
  local known = redis.call('HGET', KEYS[2], user)
  if not known then return 0 end
  local count, name = string.match(known, '^(%d+) (.*)$')
  return tonumber(count), name
end

-- Return false if the room is full.
local function add(at, user, name, capacity)
  if redis.call('HEXISTS', at, user) == 1 then return true end
  local count, known = servers(user)
  if count == 0 and redis.call('HLEN', KEYS[2]) >= capacity then return false end
  redis.call('HSET', KEYS[2], user, count + 1 .. ' ' .. (known or name))
  redis.call('HSET', at, user, '')
  if count == 0 then
    arrived[#arrived + 1] = user
    tell('e', user, name)
  end
  return true
end

-- Return whether the user has left the room: was on no other server.
local function remove(at, user)
  if redis.call('HDEL', at, user) == 0 then return false end
  local count, name = servers(user)
  if count > 1 then
    redis.call('HSET', KEYS[2], user, count - 1 .. ' ' .. name)
  elseif count == 1 then
    departed[#departed + 1] = user
    redis.call('HDEL', KEYS[2], user)
    tell('d', user)
  end
  return count == 1
end

-- Remove a user on all servers whose `at` are the keys from `first` on. A server that is not among them does it itself,
-- when it hears of the removal.
local function remove_all(first, user)
  for i = first, #KEYS do
    remove(KEYS[i], user)
  end
end

local function rename(user, name)
  local count, known = servers(user)
  if count > 0 and known ~= name then
    redis.call('HSET', KEYS[2], user, count .. ' ' .. name)
    tell('r', user, name)
  end
end

local function publish()
  keep(state)
  if #lines > 1 then
    redis.call('SPUBLISH', KEYS[3], table.concat(lines, '\n'))
  end
end

-- Return the number of users, the version and, if there are at most `roster` users, their names.
local function present(roster)
  local count = redis.call('HLEN', KEYS[2])
  return count, string.format('%.0f', state.v), count <= tonumber(roster) and redis.call('HGETALL', KEYS[2]) or false
end
