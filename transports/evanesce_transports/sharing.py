"""Listening sockets on a port that several processes of a server share: the kernel gives each client to one of them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import trio

BACKLOG = 0xFFFF
"""How many clients may wait to be taken in: as many as the kernel allows, as with `trio.open_tcp_listeners`."""


async def open_shared_listeners(port: int, *, host: str) -> list[trio.SocketListener]:
    """Listen as `trio.open_tcp_listeners` does, with SO_REUSEPORT, which has to be set before the port is bound.

    Raises `OSError`.
    """
    addresses = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[trio.SocketListener] = []
    try:
        for family, kind, protocol, _, address in addresses:
            try:
                listening = trio.socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:  # a system without IPv6 names its addresses all the same
                    raise
                continue
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                await listening.bind(address)
                listening.listen(BACKLOG)
            except BaseException:  # cancelled too: nobody else has the socket yet
                listening.close()
                raise
            listeners.append(trio.SocketListener(listening))
        if not listeners:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def take_waiting(listener: trio.SocketListener) -> Iterator[trio.SocketStream]:
    """Give the clients that wait to be taken in at this moment: at a close the kernel would reset them."""
    with socket.socket(fileno=os.dup(listener.socket.fileno())) as listening:
        listening.setblocking(False)
        for _ in range(BACKLOG):
            try:
                client, _ = listening.accept()
            except OSError:  # none waits, one has left already, or there is no descriptor for it
                return
            yield trio.SocketStream(trio.socket.from_stdlib_socket(client))
