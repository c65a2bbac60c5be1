"""What a terminal knows of the room that it is in, across its connections."""

from __future__ import annotations

import trio

from evanesce.cli.people import People
from evanesce.client.connection import Connection, Fields
from evanesce.client.links import DeepLink
from evanesce.confidential import Confidential
from evanesce.model import milliseconds
from evanesce.room_encryption import CannotOpen, RoomCipher, longest_text

KNOWN_MESSAGES = 10_000
"""How many ids of printed messages are remembered. No server sends a longer history."""

YOU = "you"


class RoomState(Confidential):
    """The room of `link`. Raises `EncryptionMissing` where its key cannot be used.

    `client` is the connection that is in the room, or None; `joined` is set while there is one. `options` are those of
    `joined.room`; `usual_ttl` is in seconds, that of the server. `own_message` is the id of the last message sent here.
    """

    def __init__(self, link: DeepLink) -> None:
        self.link = link
        self.cipher = None if link.key is None else RoomCipher(link.key, link.room_id)
        self.people = People()
        self.client: Connection | None = None
        self.joined = trio.Event()
        self.usual_ttl = 0.0
        self.options: Fields = {"access": "link", "locked": False, "encrypted": False}
        self.own_message: str | None = None
        self._content_bytes = 0
        self._clock_offset = 0.0  # the server's time minus that of Trio, in seconds
        self._senders: dict[str, str] = {}  # of the messages that were printed, by their ids

    def welcome(self, welcome: Fields) -> None:
        """Take what a server says at the sign-in."""
        self.people.own_id = welcome["userId"]
        self.usual_ttl = welcome["messageTtl"]
        self.options.setdefault("messageTtl", self.usual_ttl)
        self._content_bytes = welcome["limits"]["contentBytes"]
        self.set_time(welcome["serverTime"])

    def set_time(self, now: str) -> None:
        """Take the time of the server."""
        self._clock_offset = milliseconds(now) / 1000 - trio.current_time()

    def seconds_until(self, time: str) -> float:
        """Return how many seconds are left until a time of the server: 0 if it is over."""
        return max(0.0, milliseconds(time) / 1000 - self._clock_offset - trio.current_time())

    def enter(self, client: Connection) -> None:
        """Note that a connection is in the room: messages that wait are sent now."""
        self.client = client
        self.joined.set()

    def update(self, room: Fields) -> Fields:
        """Take the rules of `joined.room` or `room_updated`, and return those from before."""
        before = self.options
        self.options = before | {
            key: room[key] for key in ("messageTtl", "access", "locked", "encrypted") if key in room
        }
        return before

    def leave(self, client: Connection) -> None:
        """Note that a connection is not in the room any more."""
        if self.client is client:
            self.client = None
            self.joined = trio.Event()

    @property
    def life(self) -> float:
        """The seconds for which messages of this room live."""
        life: float = self.options["messageTtl"]
        return life

    @property
    def has_no_key(self) -> bool:
        """Whether the room is encrypted, and this terminal cannot read and write in it."""
        return self.cipher is None and self.options["encrypted"]

    @property
    def longest_text(self) -> int:
        """How many bytes a text may have."""
        return self._content_bytes if self.cipher is None else longest_text(self._content_bytes)

    def name(self, user_id: str) -> str:
        """Return the name of a person in a sentence."""
        return YOU if user_id == self.people.own_id else self.people.name(user_id)

    def read(self, message: Fields) -> str | None:
        """Return the text of a message; None where it cannot be opened.

        With a key, all content has to be encrypted, whatever the server says about the room.
        """
        if self.cipher is None:
            return None if self.has_no_key else message["content"]
        try:
            return self.cipher.open(message["content"], message["senderId"], message["messageId"])
        except CannotOpen:
            return None

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
