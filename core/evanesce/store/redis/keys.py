"""The names of all keys and channels. The keys of a room share the hash tag `{roomId}`, and so a slot of a cluster."""

from __future__ import annotations

from collections.abc import Sequence

HOME = "servers"
"""The hash tag of the servers' records about themselves; in a cluster the first of several (see `homes.py`)."""


class Keys:
    """The names under one prefix. The servers' records about themselves have the hash tag `home`.

    `leases` and `expiries` are sorted sets. `leases` has the time until which each server's members stay in their
    rooms, by the name of its lease. `expiries` has the time at which each server's last lease expires, by the name of
    the server; its key is called `lives`, as in version 0.1.0, so that servers of both versions see each other. `since`
    is the time since which Redis has these records, `heard` the time of the last renewal by any server. `revoked` is a
    sorted set: the ids of revoked sign-ins and erased users, by the time until which they are kept. `lag` is a hash:
    how late each server erases expired keys. `settings` is a hash: the settings of each server,
    `status` another one: the status of each. `identity` is a string:
    a random name of the data of this Redis, which is lost with the data. `ended` is a channel: a server that stopped
    has left keys to erase. `control` is the channel of notices, `key_notices` that of notices about keys of encryption.
    `pattern` is for access lists: all keys and channels.
    """

    def __init__(self, prefix: str, home: str = HOME) -> None:
        self._prefix = prefix
        self._home = home
        self.pattern = f"{prefix}:*"
        self.leases = f"{prefix}:{{{home}}}:leases"
        self.expiries = f"{prefix}:{{{home}}}:lives"
        self.since = f"{prefix}:{{{home}}}:since"
        self.heard = f"{prefix}:{{{home}}}:heard"
        self.revoked = f"{prefix}:{{{home}}}:revoked"
        self.lag = f"{prefix}:{{{home}}}:lag"
        self.settings = f"{prefix}:{{{home}}}:settings"
        self.status = f"{prefix}:{{{home}}}:status"
        self.identity = f"{prefix}:{{{home}}}:identity"
        self.ended = f"{prefix}:{{{home}}}:ended"
        self.control = f"{prefix}:{{{home}}}:events"
        self.key_notices = f"{prefix}:{{{home}}}:keys"

    def state(self, room_id: str) -> str:
        """Return a hash: the room's epoch, position, version of presence and rules, and whether it is closed."""
        return f"{self._prefix}:{{{room_id}}}:state"

    def index(self, room_id: str) -> str:
        """Return a stream: the ids of the room's messages, and of those that were unsent, never content."""
        return f"{self._prefix}:{{{room_id}}}:index"

    def of_messages(self, room_id: str) -> list[str]:
        """Return what storing messages needs of a room: state, index, events and mutes."""
        room = f"{self._prefix}:{{{room_id}}}:"  # one call instead of four, for each message
        return [f"{room}state", f"{room}index", f"{room}events", f"{room}mutes"]

    def of_message(self, room_id: str, message_id: str) -> tuple[str, str]:
        """Return the keys of a message and of its tombstone."""
        room = f"{self._prefix}:{{{room_id}}}:"
        return f"{room}message:{message_id}", f"{room}unsent:{message_id}"

    def is_index(self, key: str) -> bool:
        """Return whether a key is the index of a room."""
        return key.endswith("}:index") and key.startswith(f"{self._prefix}:{{")

    def room_of(self, index: str) -> str:
        """Return the id of the room of an index."""
        return index[len(self._prefix) + 2 : -len("}:index")]

    def message(self, room_id: str, message_id: str) -> str:
        """Return a string: the JSON of a message, with its TTL."""
        return f"{self._prefix}:{{{room_id}}}:message:{message_id}"

    def unsent(self, room_id: str, message_id: str) -> str:
        """Return an empty string: the tombstone of an unsent message, for the rest of its TTL."""
        return f"{self._prefix}:{{{room_id}}}:unsent:{message_id}"

    def members(self, room_id: str) -> str:
        """Return a hash: who is in the room, on how many servers, and by which name."""
        return f"{self._prefix}:{{{room_id}}}:people"  # the name of version 0.1.0

    def at(self, room_id: str, server: str) -> str:
        """Return a hash: who is in the room on one server."""
        return f"{self._prefix}:{{{room_id}}}:at:{server}"

    def bans(self, room_id: str) -> str:
        """Return a sorted set: the subjects that are banned, as the database has them, by the time until which."""
        return f"{self._prefix}:{{{room_id}}}:bans"

    def voted(self, room_id: str) -> str:
        """Return a sorted set: the subjects banned by votes that are not in `bans` yet, by the time until which."""
        return f"{self._prefix}:{{{room_id}}}:voted"

    def mutes(self, room_id: str) -> str:
        """Return a sorted set: who may not write, accounts and persons, by the time until which."""
        return f"{self._prefix}:{{{room_id}}}:mutes"

    def away(self, room_id: str) -> str:
        """Return a sorted set: who has left lately, by the time until which that counts; see `lua/away.lua`."""
        return f"{self._prefix}:{{{room_id}}}:away"

    def vote(self, room_id: str, subject: str) -> str:
        """Return a hash: who has voted for the removal of a person, and when the vote ends."""
        return f"{self._prefix}:{{{room_id}}}:vote:{subject}"

    def votes(self, room_id: str) -> str:
        """Return a hash: the votes that run, by the user in question."""
        return f"{self._prefix}:{{{room_id}}}:votes"

    def events(self, room_id: str) -> str:
        """Return a channel: the events of the room."""
        return f"{self._prefix}:{{{room_id}}}:events"

    def rooms(self, server: str) -> str:
        """Return a set: the rooms in which a server has members."""
        return f"{self._prefix}:{{{self._home}}}:rooms:{server}"

    def erase(self, server: str) -> str:
        """Return a sorted set: the keys that a server has to erase, by the time at which to access them."""
        return f"{self._prefix}:{{{self._home}}}:erase:{server}"

    def tokens(self, bucket: str) -> str:
        """Return a string: when a bucket will be full. It expires then."""
        return f"{self._prefix}:{{{bucket}}}:tokens"

    def connections(self, user_id: str) -> str:
        """Return a hash: how many connections a user has, by server."""
        return f"{self._prefix}:{{{user_id}}}:connections"

    def kept(self, key: str) -> str:
        """Return a string: a value of `OneTimeValues`."""
        return f"{self._prefix}:kept:{key}"

    def duty(self, name: str) -> str:
        """Return a string: the server that has reserved a duty."""
        return f"{self._prefix}:{{{self._home}}}:duty:{name}"

    def wake(self, name: str) -> str:
        """Return a channel on which a subscriber wakes itself."""
        return f"{self._prefix}:{{{self._home}}}:wake:{name}"

    def samples(self, name: str) -> Sequence[str]:
        """Return one key of each kind, with `name` for rooms, servers, users and all else that has one."""
        shared = (
            self.leases,
            self.expiries,
            self.since,
            self.heard,
            self.revoked,
            self.lag,
            self.settings,
            self.status,
            self.identity,
        )
        of_room = (self.state, self.index, self.members, self.bans, self.voted, self.mutes, self.away, self.votes)
        of_one = (*of_room, self.rooms, self.erase, self.tokens, self.connections)
        of_two = (self.message, self.unsent, self.at, self.vote)
        return (
            *shared,
            *(make(name) for make in (*of_one, self.kept, self.duty)),
            *(make(name, name) for make in of_two),
        )

    def channels(self, name: str) -> Sequence[str]:
        """Return one channel of each kind, with `name` for a room and for a subscriber."""
        return self.ended, self.control, self.key_notices, self.events(name), self.wake(name)
