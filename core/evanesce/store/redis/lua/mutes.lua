-- The set of those who may not write: the accounts, and for each person a mark, which is still known when the person
-- comes back with another account. All that belong to one person, and only these, have the same end. After ends.lua.

local function mark(subject)
  return ':' .. subject
end

local function is_mark(member)
  return string.sub(member, 1, 1) == ':'
end

-- Let the mute of a person hold for this account too, and the mute of an account for its person. Returns the end where
-- that is new for the account.
local function take_over(mutes, user, subject)
  local of_user, of_person = end_of(mutes, user), end_of(mutes, mark(subject))
  if of_user == of_person then return nil end
  local ends = math.max(of_user or 0, of_person or 0)
  add_until(mutes, { user, mark(subject) }, ends)
  return of_user ~= ends and ends or nil
end
