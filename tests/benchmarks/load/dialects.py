"""The protocols of the contenders: sign in, create and join rooms, send messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Protocol

from tests.benchmarks.load.wire import text

_ROOM = "00000000-0000-4000-8000-{:012d}"


class Step(NamedTuple):
    """Bytes to send, if any, and a part of the answer to wait for."""

    sent: bytes
    awaited: bytes


Ask = Callable[[Step], bytes]


class Dialect(Protocol):
    """A protocol. A frame may be sent repeatedly; one that joins, by one connection only."""

    joined: bytes
    """A part of the answer to a join; empty where none is needed."""
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


class Resuming(Dialect, Protocol):
    """A protocol in which people can come back. `heard` is all that one of them has received before."""

    def arrive(self, room: str, heard: bytes) -> list[Step]:
        """Return the steps of a person who is known, after the handshake, into a room."""
        ...

    def come_back(self, room: str, heard: bytes) -> list[Step]:
        """Return the same, from the last message in `heard` on."""
        ...

    def lost(self, heard: bytes) -> int:
        """Return how many messages the server says are lost."""
        ...

    @property
    def refused(self) -> bytes:
        """What is in an answer that asks to try again; empty if a server closes the connection instead."""
        ...


class Evanesce:
    """Protocol version 1 (`docs/reference/protocol.md`)."""

    joined = b'"type":"joined"'
    left = b'"type":"left"'
    refused = b'"type":"error"'

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

    def arrive(self, room: str, heard: bytes) -> list[Step]:
        """Sign in with the token, and join."""
        return [self._hello(heard), Step(self.join(room), self.joined)]

    def come_back(self, room: str, heard: bytes) -> list[Step]:
        """Sign in with the token, and join with the last cursor."""
        join = self._command("join", roomId=room, since=_last(rb'"cursor":"([^"]+)"', heard))
        return [self._hello(heard), Step(join, b'"missed":')]

    def lost(self, heard: bytes) -> int:
        """Return `missed`; null, that it is not known, is at least one."""
        return sum(1 if number == b"null" else int(number) for number in re.findall(rb'"missed":(\d+|null)', heard))

    def _hello(self, heard: bytes) -> Step:
        return Step(self._command("hello", token=_last(rb'"token":"([^"]+)"', heard)), b'"welcome"')

    def _command(self, kind: str, **fields: object) -> bytes:
        return text(json.dumps({"type": kind, "ref": 1} | fields, separators=(",", ":")))


class SocketIO:
    """Socket.IO's protocol 5 over Engine.IO's protocol 4, WebSocket alone; each event is acknowledged.

    With `replays`, the server's option `connectionStateRecovery` is on.
    """

    def __init__(self, *, replays: bool) -> None:
        self._replays = replays

    joined = b'431["joined"'
    left = b'432["left"'
    refused = b""

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

    def arrive(self, room: str, heard: bytes) -> list[Step]:
        """Connect, and join."""
        return [*self.greeting(""), Step(self.join(room), self.joined)]

    def come_back(self, room: str, heard: bytes) -> list[Step]:
        """Connect with the session and the offset of the last event, which restores the room; or join as at first."""
        if not self._replays:
            return self.arrive(room, heard)
        session, offset = _last(rb'"pid":"([^"]+)"', heard), _last(rb'\},"([^"]+)"\]', heard)
        connect = text(f'40{{"pid":"{session}","offset":"{offset}"}}')
        return [Step(b"", b'0{"sid"'), Step(connect, f'"pid":"{session}"'.encode())]

    def lost(self, heard: bytes) -> int:
        """Return 0: it does not say."""
        return 0


class Bare:
    """No protocol: a connection is in the room of its path. All members receive a message as it is sent.

    It is as long as an event of Evanesce.
    """

    joined = b""
    left = b""
    refused = b""

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
        return text(f"[{event(room, content)}]")

    def arrive(self, room: str, heard: bytes) -> list[Step]:
        """Return nothing: the connection is in its room."""
        return []

    def come_back(self, room: str, heard: bytes) -> list[Step]:
        """Return nothing: the server sends the last message to everybody who comes."""
        return []

    def lost(self, heard: bytes) -> int:
        """Return 0: it does not say."""
        return 0


class Centrifugo:
    """Centrifugo's protocol in JSON: each command is answered; the message is the data of a publication."""

    joined = b'"id":2,"subscribe":{'
    left = b'"id":4,"unsubscribe":{'
    refused = b'"error":{'

    def path(self, room: str) -> str:
        """Return the same for all rooms."""
        return "/connection/websocket"

    def greeting(self, name: str) -> list[Step]:
        """Connect as an anonymous user."""
        return [Step(text('{"id":1,"connect":{}}'), b'"connect":{')]

    def new_room(self, number: int, ask: Ask) -> str:
        """Return a name: the first subscriber creates the channel."""
        return _ROOM.format(number)

    def join(self, room: str) -> bytes:
        """Subscribe."""
        return text(f'{{"id":2,"subscribe":{{"channel":"{room}"}}}}')

    def leave(self, room: str) -> bytes:
        """Unsubscribe."""
        return text(f'{{"id":4,"unsubscribe":{{"channel":"{room}"}}}}')

    def say(self, room: str, content: str) -> bytes:
        """Publish."""
        return text(f'{{"id":3,"publish":{{"channel":"{room}","data":{event(room, content)}}}}}')

    def arrive(self, room: str, heard: bytes) -> list[Step]:
        """Connect, and subscribe."""
        return [*self.greeting(""), Step(self.join(room), self.joined)]

    def come_back(self, room: str, heard: bytes) -> list[Step]:
        """Connect, and subscribe from the offset of the last publication on."""
        epoch, offset = _last(rb'"epoch":"([^"]+)"', heard), _last(rb'"offset":(\d+)', heard)
        position = f'"recover":true,"epoch":"{epoch}","offset":{offset}'
        subscribe = text(f'{{"id":2,"subscribe":{{"channel":"{room}",{position}}}}}')
        return [*self.greeting(""), Step(subscribe, self.joined)]

    def lost(self, heard: bytes) -> int:
        """Return at least one if it could not recover."""
        return heard.count(b'"was_recovering":true') - heard.count(b'"recovered":true')


class Nats:
    """NATS' protocol. A ping is answered when what was sent before has been done."""

    joined = b"PONG\r\n"
    left = b"PONG\r\n"

    def path(self, room: str) -> str:
        """Return the same for all rooms."""
        return "/"

    def greeting(self, name: str) -> list[Step]:
        """Connect."""
        return [Step(b"", b"INFO {"), Step(text('CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n'), b"PONG\r\n")]

    def new_room(self, number: int, ask: Ask) -> str:
        """Return a subject."""
        return _ROOM.format(number)

    def join(self, room: str) -> bytes:
        """Subscribe."""
        return text(f"SUB {room} 1\r\nPING\r\n")

    def leave(self, room: str) -> bytes:
        """Unsubscribe."""
        return text("UNSUB 1\r\nPING\r\n")

    def say(self, room: str, content: str) -> bytes:
        """Publish."""
        payload = event(room, content)
        return text(f"PUB {room} {len(payload)}\r\n{payload}\r\n")


class Xmpp:
    """XMPP over WebSocket (RFC 7395), and its rooms (XEP-0045)."""

    joined = b"<subject"
    left = b"type='unavailable'"

    def __init__(self) -> None:
        self._nicknames = count()

    def path(self, room: str) -> str:
        """Return the same for all rooms."""
        return "/ws"

    def greeting(self, name: str) -> list[Step]:
        """Sign in as an anonymous user."""
        open_stream = '<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>'
        authenticate = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>"
        bind = "<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
        return [
            Step(text(open_stream), b"</mechanisms>"),
            Step(text(authenticate), b"<success"),
            Step(text(open_stream), b"</stream:features>"),
            Step(text(bind), b"</jid>"),
        ]

    def new_room(self, number: int, ask: Ask) -> str:
        """Return a name: the first member creates the room by joining."""
        return f"{_ROOM.format(number)}@conference.localhost"

    def join(self, room: str) -> bytes:
        """Enter, with a nickname that nobody else has."""
        occupant = f"{room}/guest-{next(self._nicknames)}"
        muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
        return text(f"<presence xmlns='jabber:client' to='{occupant}'>{muc}</presence>")

    def leave(self, room: str) -> bytes:
        """Leave."""
        return text(f"<presence xmlns='jabber:client' type='unavailable' to='{room}/any'/>")

    def say(self, room: str, content: str) -> bytes:
        """Send the content as the body, and the rest of Evanesce's fields in an element of its own."""
        fields = json.loads(event(room, content))
        attributes = "".join(f" {name}='{value}'" for name, value in fields.items() if name != "content")
        payload = f"<body>{content}</body><event xmlns='evanesce'{attributes}/>"
        return text(f"<message xmlns='jabber:client' type='groupchat' to='{room}' id='1'>{payload}</message>")


def _last(pattern: bytes, heard: bytes) -> str:
    found: list[bytes] = re.findall(pattern, heard)
    if not found:
        raise RuntimeError(f"there is no {pattern!r} in {heard[-600:]!r}")
    return found[-1].decode()


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
    return json.dumps(fields, separators=(",", ":"))


RESUMING: dict[str, Resuming] = {
    "evanesce": Evanesce(),
    "socketio": SocketIO(replays=False),
    "socketio-recovery": SocketIO(replays=True),
    "bare": Bare(),
    "centrifugo": Centrifugo(),
}

DIALECTS: dict[str, Dialect] = {**RESUMING, "nats": Nats(), "xmpp": Xmpp()}
