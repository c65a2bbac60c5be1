"""The client ends of thousands of connections, in one loop: they join a room, send nothing, and answer pings.

Their WebSocket handshake is that of a browser: with its headers, and its offer of permessage-deflate.
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
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload)]) + _MASK + payload


class _Client:
    """A client: it connects, signs in, joins its room, and then answers pings."""

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
        elif event["type"] in ("error", "goodbye"):
            raise ConnectionError(str(event))


class IdleConnections:
    """All clients of a run, in one loop."""

    def __init__(self, address: tuple[str, int], rooms: int) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._clients: list[_Client] = []
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

    def _open(self, rooms: Sequence[str | None]) -> list[_Client]:
        opened = [_Client(self._address, room) for room in rooms]
        for client in opened:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._clients += opened
        self._receive_until(lambda: all(client.joined for client in opened))
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
