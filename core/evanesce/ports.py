"""Whether a port is free, before several processes share it: a kernel that lets them would let a stranger in too."""

from __future__ import annotations

import errno
import socket

import trio


async def probe(bind: str) -> None:
    """Raise `OSError` where `bind`, as `host:port`, cannot be listened on: it is taken, or not this machine's.

    What shares a port by SO_REUSEPORT is found as well.
    """
    host, _, port = bind.rpartition(":")
    addresses = await trio.socket.getaddrinfo(
        host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, kind, protocol, _, address in addresses:
        try:
            candidate = socket.socket(family, kind, protocol)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:  # a system without IPv6 names its addresses all the same
                raise
            continue
        with candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            candidate.bind(address)
