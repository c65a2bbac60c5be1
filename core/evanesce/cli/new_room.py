"""`evanesce chat --new`: create a room, and make its whole link."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from evanesce.cli.account import GuestAccount
from evanesce.client.connection import Connection, Fields
from evanesce.client.errors import Disconnected, Refused, Unreachable
from evanesce.client.links import DeepLink, ServerLink, with_key
from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError
from evanesce.room_encryption import RoomKey

NO_GUESTS = "this server has no sign-in for guests, which a terminal needs: open the link in a browser."


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


async def create(room: NewRoom, account: GuestAccount, nursery: trio.Nursery) -> tuple[DeepLink, str]:
    """Sign in, and create the room; return its link, for this program and as text for people.

    A task in `nursery` runs the connection, and ends soon. Raises `NotCreated`.
    """
    try:
        client = await Connection.open(nursery, room.server.url)
    except Unreachable as error:
        raise NotCreated(f"cannot reach {room.server.host}: {error}") from None
    try:
        welcome = await client.request(account.hello())
        account.keep(welcome, welcome["serverTime"])
        created = await client.request(room.command)
    except Refused as error:
        raise NotCreated(f"{NO_GUESTS} {error}" if error.code == "unknown_provider" else str(error)) from None
    except Disconnected as error:
        raise NotCreated(str(error)) from None
    finally:
        await client.aclose()
    link = DeepLink(room.server.url, room.server.host, created["roomId"], room.key)
    return link, with_key(created["deepLink"], room.key)
