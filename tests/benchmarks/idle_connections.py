"""The client ends of thousands of connections, in one loop: they join a room, and do nothing but answer pings.

They send messages, and visit their room again, only where they are told to.

Their WebSocket handshake is that of a browser: with its headers, and its offer of permessage-deflate.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

AT_ONCE = 50
"""How many connections are opened at the same time."""

PATIENCE = 60.0
"""The timeout of everything, in seconds."""

_MASK = bytes(4)
_HEADERS = """\
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Upgrade: websocket
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en-US;q=0.9,en;q=0.8
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Sec-WebSocket-Protocol: evanesce.v1

""".replace("\n", "\r\n")


def _command(**fields: Any) -> bytes:
    payload = json.dumps(fields).encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return b"\x81" + size + _MASK + payload


class Client:
    """A client: it connects, signs in, joins its room, and then answers pings."""

    def __init__(self, address: tuple[str, int], room: str | None) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.joined = False
        self.sent = 0
        """How many messages the server has acknowledged."""
        self.room = room
        self._received = bytearray()
        self._shaken = False
        host, port = address
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n{_HEADERS}".encode()
        )

    def say(self, content: str) -> None:
        """Send a message to the room."""
        self.socket.sendall(_command(type="send", roomId=self.room, content=content))

    def visit_again(self) -> None:
        """Leave the room, and join it again."""
        self.joined = False
        self.socket.sendall(_command(type="leave", roomId=self.room) + _command(type="join", roomId=self.room))

    def receive(self) -> None:
        """Read from the socket, and take the next step."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError(f"the server closed a connection; before that it sent {bytes(self._received)!r}")
        self._received += data
        if not self._shaken:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._received = rest
            self._shaken = True
            self.socket.sendall(_command(type="hello", credential={"provider": "guest", "displayName": "Idle"}))
        for opcode, payload in self._frames():
            if opcode == 9:
                self.socket.sendall(bytes([0x8A, 0x80 | len(payload)]) + _MASK + payload)
            elif opcode == 1:
                for event in json.loads(payload):
                    self._handle(event)
            else:
                raise ConnectionError(f"opcode {opcode}: {bytes(payload)!r}")

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self._received) >= 2:
            size, start = self._received[1], 2
            if size == 126:
                size, start = int.from_bytes(self._received[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self._received[2:10], "big"), 10
            if len(self._received) < start + size:
                return
            opcode, payload = self._received[0] & 15, bytes(self._received[start : start + size])
            del self._received[: start + size]
            yield opcode, payload

    def _handle(self, event: dict[str, Any]) -> None:
        if event["type"] == "welcome":
            command = _command(type="create_room") if self.room is None else _command(type="join", roomId=self.room)
            self.socket.sendall(command)
        elif event["type"] == "room":
            self.room = event["roomId"]
            self.socket.sendall(_command(type="join", roomId=self.room))
        elif event["type"] == "joined":
            self.joined = True
        elif event["type"] == "sent":
            self.sent += 1
        elif event["type"] in ("error", "goodbye"):
            raise ConnectionError(str(event))


def _groups(clients: Sequence[Client]) -> Iterator[Sequence[Client]]:
    for start in range(0, len(clients), AT_ONCE):
        yield clients[start : start + AT_ONCE]


def _have_joined(clients: Sequence[Client]) -> bool:
    return all(client.joined for client in clients)


def _have_sent(clients: Sequence[Client], expected: Sequence[int]) -> bool:
    return [client.sent for client in clients] == expected


class IdleConnections:
    """All clients of a run, in one loop."""

    def __init__(self, address: tuple[str, int], rooms: int) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._rooms: list[str] = []
        for _ in range(rooms):
            [client] = self._open([None])
            assert client.room is not None
            self._rooms.append(client.room)

    def open(self, count: int) -> None:
        """Open `count` more connections, spread over the rooms."""
        for start in range(0, count, AT_ONCE):
            places = range(len(self._clients), len(self._clients) + min(AT_ONCE, count - start))
            self._open([self._rooms[place % len(self._rooms)] for place in places])

    def _open(self, rooms: Sequence[str | None]) -> list[Client]:
        opened = [Client(self._address, room) for room in rooms]
        for client in opened:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._clients += opened
        self._receive_until(partial(_have_joined, opened))
        return opened

    def _receive_until(self, done: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Answer the server until `done` returns true."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in self._selector.select(left):
                key.data.receive()

    def open_alone(self, count: int) -> list[Client]:
        """Open `count` more connections, each in a room of its own, and return them."""
        opened: list[Client] = []
        for start in range(0, count, AT_ONCE):
            opened += self._open([None] * min(AT_ONCE, count - start))
        return opened

    def say(self, clients: Sequence[Client], content: str) -> None:
        """Send a message with each of `clients`, and wait for all acknowledgements."""
        for some in _groups(clients):
            expected = [client.sent + 1 for client in some]
            for client in some:
                client.say(content)
            self._receive_until(partial(_have_sent, some, expected))

    def visit_again(self, clients: Sequence[Client]) -> None:
        """Let each of `clients` leave its room and join it again."""
        for some in _groups(clients):
            for client in some:
                client.visit_again()
            self._receive_until(partial(_have_joined, some))

    def stay_idle(self, seconds: float) -> None:
        """Only answer pings."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data.receive()

    def close(self) -> None:
        for client in self._clients:
            self._selector.unregister(client.socket)
            client.socket.sendall(bytes([0x88, 0x82]) + _MASK + struct.pack("!H", 1000))
            client.socket.close()
