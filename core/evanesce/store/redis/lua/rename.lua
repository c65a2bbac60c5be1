-- Change the name of a user who is in the room. KEYS: state, members, channel. ARGV: epoch, keep, user, name as JSON.

rename(ARGV[3], ARGV[4])
publish()
return 1
