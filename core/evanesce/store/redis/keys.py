"""The names of everything in Redis. The keys of one room share the hash tag `{roomId}`, and so a slot of a cluster."""

from __future__ import annotations


class Keys:
    """The names under one prefix.

    `leases` and `lives` are sorted sets: until when each server's people stay in their rooms, by the name of its lease,
    and until when the server lives or lived, by its own; `since` is when Redis's memory of them began, `heard` when any
    of them renewed its lease last.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.leases = f"{prefix}:{{servers}}:leases"
        self.lives = f"{prefix}:{{servers}}:lives"
        self.since = f"{prefix}:{{servers}}:since"
        self.heard = f"{prefix}:{{servers}}:heard"
        self.control = f"{prefix}:{{servers}}:events"

    def state(self, room_id: str) -> str:
        """A hash: the room's epoch, position and version of presence, and whether it is closed."""
        return f"{self._prefix}:{{{room_id}}}:state"

    def index(self, room_id: str) -> str:
        """A stream: the ids of the room's messages and withdrawals, never content."""
        return f"{self._prefix}:{{{room_id}}}:index"

    def message(self, room_id: str, message_id: str) -> str:
        """A text: the message's JSON, under its TTL."""
        return f"{self._prefix}:{{{room_id}}}:message:{message_id}"

    def unsent(self, room_id: str, message_id: str) -> str:
        """An empty text: the tombstone of a message that was taken back, for the rest of its life."""
        return f"{self._prefix}:{{{room_id}}}:unsent:{message_id}"

    def people(self, room_id: str) -> str:
        """A hash: who is in the room, on how many servers, and by which name."""
        return f"{self._prefix}:{{{room_id}}}:people"

    def at(self, room_id: str, server: str) -> str:
        """A hash: who is in the room on one server."""
        return f"{self._prefix}:{{{room_id}}}:at:{server}"

    def events(self, room_id: str) -> str:
        """A channel: what happens in the room."""
        return f"{self._prefix}:{{{room_id}}}:events"

    def rooms(self, server: str) -> str:
        """A set: the rooms that a server has people in."""
        return f"{self._prefix}:{{servers}}:rooms:{server}"

    def tokens(self, bucket: str) -> str:
        """A text: when a bucket will be full again; gone when it is."""
        return f"{self._prefix}:{{{bucket}}}:tokens"

    def connections(self, user_id: str) -> str:
        """A hash: how many connections a user has, by server."""
        return f"{self._prefix}:{{{user_id}}}:connections"

    def kept(self, key: str) -> str:
        """A text that somebody put, until somebody takes it."""
        return f"{self._prefix}:kept:{key}"

    def duty(self, name: str) -> str:
        """A text: that some server has taken on a duty, for a while."""
        return f"{self._prefix}:duty:{name}"

    def wake(self, name: str) -> str:
        """A channel on which a subscriber wakes itself."""
        return f"{self._prefix}:{{servers}}:wake:{name}"
