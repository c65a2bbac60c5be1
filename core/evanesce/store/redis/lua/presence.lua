-- Say who is in a room. KEYS: state, people, channel. ARGV: epoch, keep, roster. Answers: count, version, who (or nil).

if not state.closed then keep(state) end
return { present(ARGV[3]) }
