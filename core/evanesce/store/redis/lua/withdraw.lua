-- Take a message back.
-- KEYS: state, index, channel, the message, its tombstone. ARGV: epoch, keep, ttl, the message's id, who asks.
-- Answers: `closed`, `none`, `other` or `done`.

local state = room()
if state.closed then return 'closed' end
local known = redis.call('GET', KEYS[4])
if not known then return 'none' end
local message = cjson.decode(known)
if message.senderId ~= ARGV[5] then return 'other' end

-- The entry's number: at or, where the clock went back, after the message's own millisecond.
local function number()
  local year, month, day, hour, minute, second, ms =
    string.match(message.createdAt, '(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.(%d+)')
  local y = tonumber(month) <= 2 and tonumber(year) - 1 or tonumber(year)
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local mp = (tonumber(month) + 9) % 12
  local doy = math.floor((153 * mp + 2) / 5) + tonumber(day) - 1
  local days = era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
  local created = ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
  local from = created * 1000 + tonumber(ms)
  while true do
    local entries = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if entry[2][1] == 'm' and entry[2][2] == ARGV[4] then
        return string.match(entry[1], '%-(%d+)$')
      end
    end
    if #entries < 100 then return '0' end
    from = '(' .. entries[100][1]
  end
end

local left = math.max(1, redis.call('PTTL', KEYS[4]))
local of = number()
state.n = state.n + 1
redis.call('XADD', KEYS[2], 'MINID', '~', now - tonumber(ARGV[3]), string.format('%.0f-%.0f', state.t, state.n),
  'w', ARGV[4], 'of', of, 'until', now + left)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('SET', KEYS[5], '', 'PX', left)
keep(state)
redis.call('PUBLISH', KEYS[3],
  state.epoch .. string.format('\nw %.0f %.0f %.0f ', state.t, state.n, state.c) .. ARGV[4])
return 'done'
