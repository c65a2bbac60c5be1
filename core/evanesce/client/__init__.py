"""The client library of Evanesce, on Trio; `evanesce.client.aio` is its face for asyncio.

async with evanesce.client.open_client(url, credential={"provider": "guest", "displayName": "Ana"}) as client:
    room = await client.join(link)
    async for event in room:
        ...
"""

from evanesce.client.client import Client, open_client
from evanesce.client.errors import (
    Disconnected,
    KeyMissing,
    NotSent,
    OutcomeUnknown,
    Refused,
    Stopped,
    Unreachable,
)
from evanesce.client.events import (
    Event,
    Expired,
    Joined,
    Left,
    Member,
    MemberCount,
    MemberJoined,
    MemberLeft,
    MemberMuted,
    Members,
    MemberUpdated,
    Message,
    Missed,
    Removed,
    RoomClosed,
    RoomEvent,
    RoomInfo,
    RoomOptions,
    RoomUpdated,
    Sent,
    State,
    Typing,
    Unsent,
    Vote,
    fields_of,
)
from evanesce.client.links import BadLink
from evanesce.client.room import Room

__all__ = [
    "BadLink",
    "Client",
    "Disconnected",
    "Event",
    "Expired",
    "Joined",
    "KeyMissing",
    "Left",
    "Member",
    "MemberCount",
    "MemberJoined",
    "MemberLeft",
    "MemberMuted",
    "MemberUpdated",
    "Members",
    "Message",
    "Missed",
    "NotSent",
    "OutcomeUnknown",
    "Refused",
    "Removed",
    "Room",
    "RoomClosed",
    "RoomEvent",
    "RoomInfo",
    "RoomOptions",
    "RoomUpdated",
    "Sent",
    "State",
    "Stopped",
    "Typing",
    "Unreachable",
    "Unsent",
    "Vote",
    "fields_of",
    "open_client",
]
