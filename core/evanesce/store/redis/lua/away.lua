-- Functions for the set of those who have left a room lately. After ends.lua. Who has lost the connection is in it by
-- the id, and may come back to a locked room. Who has left on purpose, or was removed, is in it with a colon before, where
-- the room has rules: only then it can be locked.

-- Note that users have left, `lost` after they lost their connection, `left` because they wanted to or had to.
local function note_away(away, lost, left, milliseconds)
  forget(away, left)
  local noted = {}
  for _, user in ipairs(lost) do noted[#noted + 1] = user end
  if state.rv > 0 then
    for _, user in ipairs(left) do noted[#noted + 1] = ':' .. user end
  end
  if #noted > 0 then
    add_until(away, noted, now + tonumber(milliseconds))
    redis.call('PEXPIRE', away, milliseconds)
  end
end
