"""How each kind of server is spoken to: signing in, opening and joining rooms, saying something."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.benchmarks.load.wire import text

_ROOM = "00000000-0000-4000-8000-{:012d}"


class Step(NamedTuple):
    """Something that is sent (nothing where it is empty), and a part of the answer that is waited for."""

    sent: bytes
    awaited: bytes


Ask = Callable[[Step], bytes]


class Dialect(Protocol):
    """One way to speak. Every frame may be sent over and over."""

    path: str
    joined: bytes
    left: bytes

    def greeting(self, name: str) -> list[Step]:
        """Do what comes before anything else on a connection."""
        ...

    def new_room(self, number: int, ask: Ask) -> str:
        """Open a room over a connection; gives its name."""
        ...

    def join(self, room: str) -> bytes:
        """Come into a room."""
        ...

    def leave(self, room: str) -> bytes:
        """Go out of it."""
        ...

    def say(self, room: str, content: str) -> bytes:
        """Say something in it."""
        ...


class Evanesce:
    """Protocol version 1 (`docs/protocol.md`)."""

    path = "/ws"
    joined = b'"type":"joined"'
    left = b'"type":"left"'

    def greeting(self, name: str) -> list[Step]:
        """Sign in as a guest."""
        return [Step(self._command("hello", credential={"provider": "guest", "displayName": name}), b'"welcome"')]

    def new_room(self, number: int, ask: Ask) -> str:
        """Open a room."""
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
        """Send; the server makes the message's id."""
        return self._command("send", roomId=room, content=content)

    def _command(self, kind: str, **fields: object) -> bytes:
        return text(json.dumps({"type": kind, "ref": 1} | fields, separators=(",", ":")))


class SocketIO:
    """Socket.IO's protocol 5 over Engine.IO's protocol 4, WebSocket alone; each event is acknowledged."""

    path = "/socket.io/?EIO=4&transport=websocket"
    joined = b'431["joined"'
    left = b'432["left"'

    def greeting(self, name: str) -> list[Step]:
        """Connect to the default namespace."""
        return [Step(b"", b'0{"sid"'), Step(text("40"), b'40{"sid"')]

    def new_room(self, number: int, ask: Ask) -> str:
        """Name a room: it is made by who joins it."""
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
    """No protocol: whatever one connection says goes to all as it is. It is as long as an Evanesce event."""

    path = "/"
    joined = b"Upgrade"
    left = b""

    def greeting(self, name: str) -> list[Step]:
        """Nothing."""
        return []

    def new_room(self, number: int, ask: Ask) -> str:
        """Give the one room that there is."""
        return _ROOM.format(0)

    def join(self, room: str) -> bytes:
        """Nothing: everybody is in it."""
        return b""

    def leave(self, room: str) -> bytes:
        """Nothing."""
        return b""

    def say(self, room: str, content: str) -> bytes:
        """Say what Evanesce would tell the members."""
        return text(event(room, content))


def event(room: str, content: str) -> str:
    """Write a message as Evanesce's members receive it."""
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
