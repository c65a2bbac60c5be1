"""The other ends of thousands of connections, in one loop: they join a room, say nothing, and answer pings.

They ask for a WebSocket as a browser does: with its headers, and its offer of permessage-deflate.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

AT_ONCE = 50
"""How many come in at the same time."""

PATIENCE = 60.0
"""How long anything may take, in seconds."""

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
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload)]) + _MASK + payload


class _Line:
    """One client: it shakes hands, signs in, joins its room, and from then on answers pings."""

    def __init__(self, address: tuple[str, int], room: str | None) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.joined = False
        self.room = room
        self._received = bytearray()
        self._shaken = False
        host, port = address
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n{_HEADERS}".encode()
        )

    def hear(self) -> None:
        """Read what came, and do what is next."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError(f"the server closed a connection; before that came {bytes(self._received)!r}")
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
                    self._told(event)
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

    def _told(self, event: dict[str, Any]) -> None:
        if event["type"] == "welcome":
            command = _command(type="create_room") if self.room is None else _command(type="join", roomId=self.room)
            self.socket.sendall(command)
        elif event["type"] == "room":
            self.room = event["roomId"]
            self.socket.sendall(_command(type="join", roomId=self.room))
        elif event["type"] == "joined":
            self.joined = True
        elif event["type"] in ("error", "goodbye"):
            raise ConnectionError(str(event))


class Crowd:
    """All clients of a run, in one loop."""

    def __init__(self, address: tuple[str, int], rooms: int) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._lines: list[_Line] = []
        self._rooms: list[str] = []
        for _ in range(rooms):
            [line] = self._come([None])
            assert line.room is not None
            self._rooms.append(line.room)

    def grow(self, count: int) -> None:
        """Let `count` more come in, spread over the rooms."""
        for start in range(0, count, AT_ONCE):
            places = range(len(self._lines), len(self._lines) + min(AT_ONCE, count - start))
            self._come([self._rooms[place % len(self._rooms)] for place in places])

    def _come(self, rooms: Sequence[str | None]) -> list[_Line]:
        coming = [_Line(self._address, room) for room in rooms]
        for line in coming:
            self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._lines += coming
        self.hear(lambda: all(line.joined for line in coming))
        return coming

    def hear(self, done: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Answer the server until `done`."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in self._selector.select(left):
                key.data.hear()

    def rest(self, seconds: float) -> None:
        """Do nothing but answer pings."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data.hear()

    def leave(self) -> None:
        for line in self._lines:
            self._selector.unregister(line.socket)
            line.socket.sendall(bytes([0x88, 0x82]) + _MASK + struct.pack("!H", 1000))
            line.socket.close()
