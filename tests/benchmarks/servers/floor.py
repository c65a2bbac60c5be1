"""The floor: no protocol, a bare loop of `send` of a ready frame on every socket. Arguments: port, group.

For each message that comes the frame goes out on every socket; with a group above 1, for each so many messages (or as
many as came) one frame that holds them all: what is left then is the load's own limit.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def main(port: int, group: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    unread = b""
    print("listening", flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while not client.recv(4096).endswith(b"\r\n\r\n"):
                    pass
                client.sendall(SWITCH)
                sockets[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
                continue
            data = sockets[descriptor].recv(262_144)
            if not data:
                poll.unregister(descriptor)
                sockets.pop(descriptor).close()
                continue
            unread += data
            size = _frame_size(unread)
            count, rest = divmod(len(unread), size) if size else (0, 0)
            if count:
                payload = _unmasked(unread[:size])
                unread = unread[len(unread) - rest :]
                _tell(list(sockets.values()), payload, count, group)


def _frame_size(data: bytes) -> int:
    """Return the size of the frame that comes over and over: masked, of 126 to 65,535 bytes; 0 if unknown."""
    return 8 + struct.unpack_from("!H", data, 2)[0] if len(data) >= 8 else 0


def _unmasked(frame: bytes) -> bytes:
    mask, payload = frame[4:8], frame[8:]
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    return (b"\x81\x7e" + struct.pack("!H", size) if size < 65536 else b"\x81\x7f" + struct.pack("!Q", size)) + payload


def _tell(sockets: list[socket.socket], payload: bytes, count: int, group: int) -> None:
    while count:
        together = min(group, count)
        count -= together
        frame = _framed(b"[" + b",".join([payload[1:-1]] * together) + b"]")
        for client in sockets:
            if client.send(frame) < len(frame):
                raise SystemExit("a blocking socket took a part of a frame")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
