"""`evanesce chat --new`: create a room, and make its whole link."""

from __future__ import annotations

from dataclasses import dataclass

from evanesce.client.client import Client
from evanesce.client.connection import Fields
from evanesce.client.errors import Disconnected, Refused, Stopped
from evanesce.client.links import DeepLink, ServerLink, with_key
from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError
from evanesce.room_encryption import RoomKey


class NotCreated(EvanesceError):
    """The room was not created. The message says why."""


@dataclass(frozen=True, slots=True, repr=False)
class NewRoom(Confidential):
    """A room to create on `server`. `key` is None where it is not encrypted; `ttl` in seconds, None: as usual."""

    server: ServerLink
    key: RoomKey | None
    ttl: float | None
    invite_only: bool

    @property
    def command(self) -> Fields:
        """The command of the protocol."""
        options: Fields = {
            "messageTtl": self.ttl,
            "access": "invite" if self.invite_only else None,
            "encrypted": True if self.key is not None else None,
        }
        return {"type": "create_room"} | {key: value for key, value in options.items() if value is not None}


async def create(room: NewRoom, client: Client) -> tuple[DeepLink, str]:
    """Create the room; return its link, for this program and as text for people. Raises `NotCreated`."""
    try:
        created = await client.request(room.command)
    except (Refused, Disconnected, Stopped) as error:
        raise NotCreated(str(error)) from None
    link = DeepLink(room.server.url, room.server.host, created["roomId"], room.key)
    return link, with_key(created["deepLink"], room.key)
