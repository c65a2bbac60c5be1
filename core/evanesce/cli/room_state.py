"""What a terminal knows of the room that it is in."""

from __future__ import annotations

from evanesce.cli.people import People
from evanesce.client.client import Client
from evanesce.client.connection import Fields
from evanesce.client.events import seconds
from evanesce.client.links import DeepLink
from evanesce.confidential import Confidential
from evanesce.room_encryption import longest_text

KNOWN_MESSAGES = 10_000
"""How many ids of printed messages are remembered. No server sends a longer history."""

YOU = "you"


class RoomState(Confidential):
    """The room of `link`. Raises `EncryptionMissing` where its key cannot be used.

    `room` is the library's. `options` are those of `joined.room`. `own_message` is the id of the last message of the
    user.
    """

    def __init__(self, link: DeepLink, client: Client) -> None:
        self.link = link
        self.room = client.enter(link.room_id, invite=link.invite, key=link.key)
        self.people = People()
        self.people.own_id = client.user_id
        self.options: Fields = {"access": "link", "locked": False, "encrypted": False, "messageTtl": client.message_ttl}
        self.own_message: str | None = None
        self._client = client
        self._has_joined = False
        self._senders: dict[str, str] = {}  # of the messages that were printed, by their ids

    def seconds_until(self, time: str) -> float:
        """Return how many seconds are left until a time of the server: 0 if it is over."""
        return max(0.0, seconds(time) - self._client.server_now())

    def update(self, room: Fields) -> Fields:
        """Take the rules of `joined.room` or `room_updated`, and return those from before."""
        self._has_joined = True
        before = self.options
        self.people.own_id = self._client.user_id  # another one after a new sign-in
        self.options = before | {
            key: room[key] for key in ("messageTtl", "access", "locked", "encrypted") if key in room
        }
        return before

    @property
    def is_away(self) -> bool:
        """Whether the user was in the room, and the connection is lost."""
        return self._has_joined and self.room.state == "joining"

    @property
    def usual_ttl(self) -> float:
        """For how many seconds messages live on this server, where a room has no other rule."""
        return self._client.message_ttl

    @property
    def has_no_key(self) -> bool:
        """Whether the room is encrypted, and this terminal cannot read and write in it."""
        return self.link.key is None and self.options["encrypted"]

    @property
    def longest_text(self) -> int:
        """How many bytes a text may have."""
        content_bytes: int = self._client.limits["contentBytes"]
        return content_bytes if self.link.key is None else longest_text(content_bytes)

    def name(self, user_id: str) -> str:
        """Return the name of a person in a sentence."""
        return YOU if user_id == self.people.own_id else self.people.name(user_id)

    def remember(self, message_id: str, sender_id: str) -> bool:
        """Remember a message, and return whether it is new."""
        if message_id in self._senders:
            return False
        self._senders[message_id] = sender_id
        if len(self._senders) > KNOWN_MESSAGES:
            del self._senders[next(iter(self._senders))]
        return True

    def forget_unsent(self, message_id: str) -> None:
        """Note that a message was unsent: nobody answers it."""
        if message_id in self._senders:
            self._senders[message_id] = ""

    def sender(self, message_id: str) -> str | None:
        """Return the id of the person who sent a message that was printed."""
        return self._senders.get(message_id) or None

    def last_message(self, sender_id: str | None = None) -> str | None:
        """Return the id of the last message of a person, or, without one, of anybody else than the user."""
        for message_id, sender in reversed(self._senders.items()):
            if sender and (sender == sender_id if sender_id else sender != self.people.own_id):
                return message_id
        return None
