"""The floor: no protocol, a bare loop of `send` of a ready frame on every socket of a room. Arguments: port, group.

The path of a connection is its room. For each message that comes the frame goes out on every socket of the room; with a
group above 1, for each so many messages (or as many as came) one frame that holds them all: what is left then is the
load's own limit. A client that connects later receives the last frame.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Room:
    """The sockets of a room; `unread` is what came and is no whole frame, and `frames` what was made, by its size.

    One message comes over and over in a room, so each frame is made once. `last` is for who comes later.
    """

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.unread = b""
        self.frames: dict[int, bytes] = {}
        self.last = b""

    def receive(self, data: bytes, group: int) -> None:
        self.unread += data
        size = _frame_size(self.unread)
        count, rest = divmod(len(self.unread), size) if size else (0, 0)
        if not count:
            return
        if not self.frames:
            self.frames[0] = _unmasked(self.unread[:size])
        self.unread = self.unread[len(self.unread) - rest :]
        while count:
            together = min(group, count)
            count -= together
            if together not in self.frames:
                self.frames[together] = _framed(b"[" + b",".join([self.frames[0][1:-1]] * together) + b"]")
            frame = self.last = self.frames[together]
            for client in self.sockets:
                if client.send(frame) < len(frame):
                    raise SystemExit("a blocking socket took a part of a frame")


def main(port: int, group: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    rooms: dict[bytes, Room] = {}
    members: dict[int, tuple[socket.socket, Room]] = {}
    print("listening", flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(4096)
                room = rooms.setdefault(head.split(b" ", 2)[1], Room())
                client.sendall(SWITCH + room.last)
                room.sockets.append(client)
                members[client.fileno()] = client, room
                poll.register(client, select.EPOLLIN)
                continue
            client, room = members[descriptor]
            data = client.recv(262_144)
            if data:
                room.receive(data, group)
            else:
                poll.unregister(descriptor)
                del members[descriptor]
                room.sockets.remove(client)
                client.close()


def _frame_size(data: bytes) -> int:
    """Return the size of the frame that comes over and over: masked, of 126 to 65,535 bytes; 0 if unknown."""
    return 8 + struct.unpack_from("!H", data, 2)[0] if len(data) >= 8 else 0


def _unmasked(frame: bytes) -> bytes:
    mask, payload = frame[4:8], frame[8:]
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    return (b"\x81\x7e" + struct.pack("!H", size) if size < 65536 else b"\x81\x7f" + struct.pack("!Q", size)) + payload


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
