"""The room that a client names in the address of its WebSocket: `/ws?roomId=…`. Only workers on shared ports use it.

It is a hint and no permission. It is read before the request, without consuming it, so that the connection can be
passed to the worker of the room as if that worker had accepted it.
"""

from __future__ import annotations

import re
import socket as stdlib_socket

import trio

from evanesce_transports.admission import PATH
from evanesce_transports.request import PublicPath

NAME = b"roomId"
"""The parameter's name."""

PEEK_BYTES = 2 * 1024
"""How much of a request is looked at. The hint is in its first line."""

_ROOM_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def peek_room(socket: trio.socket.SocketType, public_path: PublicPath) -> str | None:
    """Wait for the first bytes of a client, and return the room that they name; None where they name none.

    The bytes are not consumed. It looks once: a client that sends its first line in parts is not worth more.
    """
    try:
        head = await socket.recv(PEEK_BYTES, stdlib_socket.MSG_PEEK)
    except OSError:  # the client left, as the reader of its request will find out
        return None
    return named_room(head, public_path)


def named_room(head: bytes, public_path: PublicPath) -> str | None:
    """Return the room that the first line of a request for the WebSocket names; None where it names none.

    The time is proportional to the length of `head`.
    """
    line, line_end, _ = head.partition(b"\r\n")
    method, _, rest = line.partition(b" ")
    target, _, _ = rest.partition(b" ")
    if not line_end or method != b"GET":
        return None
    path, _, query = public_path.strip(target).partition(b"?")
    if path != PATH.encode():
        return None
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == NAME:
            return value.decode() if _ROOM_ID.fullmatch(value) else None
    return None
