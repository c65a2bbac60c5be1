-- Functions for the set of those who have lost their connection, and may come back to a locked room. After ends.lua.

-- Note that users have left, `lost` after they lost their connection, `left` because they wanted to.
local function note_away(away, lost, left, milliseconds)
  forget(away, left)
  if #lost > 0 then
    add_until(away, lost, now + tonumber(milliseconds))
    redis.call('PEXPIRE', away, milliseconds)
  end
end
