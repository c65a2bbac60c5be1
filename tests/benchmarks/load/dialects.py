"""The protocols of the contenders: sign in, create and join rooms, send messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.benchmarks.load.wire import text

_ROOM = "00000000-0000-4000-8000-{:012d}"


class Step(NamedTuple):
    """Bytes to send, if any, and a part of the answer to wait for."""

    sent: bytes
    awaited: bytes


Ask = Callable[[Step], bytes]


class Dialect(Protocol):
    """A protocol. Every frame may be sent repeatedly."""

    joined: bytes
    left: bytes

    def path(self, room: str) -> str:
        """Return where a connection that will join a room asks for its WebSocket."""
        ...

    def greeting(self, name: str) -> list[Step]:
        """Return the first steps of a connection."""
        ...

    def new_room(self, number: int, ask: Ask) -> str:
        """Create a room over a connection, and return its name."""
        ...

    def join(self, room: str) -> bytes:
        """Return the frame that joins a room."""
        ...

    def leave(self, room: str) -> bytes:
        """Return the frame that leaves a room."""
        ...

    def say(self, room: str, content: str) -> bytes:
        """Return the frame that sends a message to a room."""
        ...


class Evanesce:
    """Protocol version 1 (`docs/reference/protocol.md`)."""

    joined = b'"type":"joined"'
    left = b'"type":"left"'

    def path(self, room: str) -> str:
        """Return the same for all rooms."""
        return "/ws"

    def greeting(self, name: str) -> list[Step]:
        """Sign in as a guest."""
        return [Step(self._command("hello", credential={"provider": "guest", "displayName": name}), b'"welcome"')]

    def new_room(self, number: int, ask: Ask) -> str:
        """Create a room."""
        answer = ask(Step(self._command("create_room"), b'"deepLink"'))
        found = re.search(rb'"type":"room",[^{}]*"roomId":"([^"]+)"', answer)
        assert found is not None, answer
        return found.group(1).decode()

    def join(self, room: str) -> bytes:
        """Join."""
        return self._command("join", roomId=room)

    def leave(self, room: str) -> bytes:
        """Leave."""
        return self._command("leave", roomId=room)

    def say(self, room: str, content: str) -> bytes:
        """Send. The server generates the id of the message."""
        return self._command("send", roomId=room, content=content)

    def _command(self, kind: str, **fields: object) -> bytes:
        return text(json.dumps({"type": kind, "ref": 1} | fields, separators=(",", ":")))


class SocketIO:
    """Socket.IO's protocol 5 over Engine.IO's protocol 4, WebSocket alone; each event is acknowledged."""

    joined = b'431["joined"'
    left = b'432["left"'

    def path(self, room: str) -> str:
        """Return the same for all rooms."""
        return "/socket.io/?EIO=4&transport=websocket"

    def greeting(self, name: str) -> list[Step]:
        """Connect to the default namespace."""
        return [Step(b"", b'0{"sid"'), Step(text("40"), b'40{"sid"')]

    def new_room(self, number: int, ask: Ask) -> str:
        """Return a name: the first member creates the room by joining."""
        return _ROOM.format(number)

    def join(self, room: str) -> bytes:
        """Join."""
        return text(f'421["join","{room}"]')

    def leave(self, room: str) -> bytes:
        """Leave."""
        return text(f'422["leave","{room}"]')

    def say(self, room: str, content: str) -> bytes:
        """Send."""
        return text(f'423["send","{room}","{content}"]')


class Bare:
    """No protocol: a connection is in the room of its path. All members receive a message as it is sent.

    It is as long as an event of Evanesce.
    """

    joined = b""
    left = b""

    def path(self, room: str) -> str:
        """Return the room's path."""
        return f"/room/{room}"

    def greeting(self, name: str) -> list[Step]:
        """Return nothing."""
        return []

    def new_room(self, number: int, ask: Ask) -> str:
        """Return a name: the first member creates the room by connecting."""
        return _ROOM.format(number)

    def join(self, room: str) -> bytes:
        """Return nothing: the connection is in its room."""
        return b""

    def leave(self, room: str) -> bytes:
        """Return nothing."""
        return b""

    def say(self, room: str, content: str) -> bytes:
        """Send what Evanesce would send to the members."""
        return text(event(room, content))


def event(room: str, content: str) -> str:
    """Return a message as the members receive it from Evanesce."""
    fields = {
        "type": "message",
        "roomId": room,
        "messageId": _ROOM.format(1),
        "senderId": _ROOM.format(2),
        "senderName": "Guest 0",
        "content": content,
        "createdAt": "2026-11-22T05:42:00.123Z",
        "expiresAt": "2026-11-22T05:43:00.123Z",
        "cursor": "0123456789abcdef-1795325000000-1795325000000000-100000",
    }
    return json.dumps([fields], separators=(",", ":"))


DIALECTS: dict[str, Dialect] = {"evanesce": Evanesce(), "socketio": SocketIO(), "bare": Bare()}
