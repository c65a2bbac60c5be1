-- Functions for sets of who has something until when: sorted sets whose scores are ends, in milliseconds. After
-- room.lua.

local MOST = 10000 -- members of one set
local STEP = 1000 -- how many go into one call: Lua cannot pass many more arguments

-- Return when the entry of a member ends; nil if it has none, or it has ended.
local function end_of(key, member)
  local ends = tonumber(redis.call('ZSCORE', key, member) or 0)
  return ends > now and ends or nil
end

-- Call `act` with up to STEP elements of a list at a time.
local function in_steps(list, act)
  for first = 1, #list, STEP do
    act(unpack(list, first, math.min(first + STEP - 1, #list)))
  end
end

local function forget(key, members)
  in_steps(members, function(...) redis.call('ZREM', key, ...) end)
end

-- Add members, all with the same end. What has ended, and what is too much, the first to end, is forgotten.
local function add_until(key, members, ends)
  local pairs_ = {}
  for _, member in ipairs(members) do
    pairs_[#pairs_ + 1] = ends
    pairs_[#pairs_ + 1] = member
  end
  in_steps(pairs_, function(...) redis.call('ZADD', key, ...) end)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) > MOST then
    forget(key, redis.call('ZRANGE', key, 0, -(MOST + 1)))
  end
end
