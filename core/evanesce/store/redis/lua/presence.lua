-- Return who is in a room. KEYS: state, members, channel. ARGV: epoch, keep, roster. Returns count, version, the users
-- (or nil).

if not state.closed then keep(state) end
return { present(ARGV[3]) }
