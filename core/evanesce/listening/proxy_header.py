"""The header of the PROXY protocol, versions 1 and 2: what a proxy sends before the data of a client.

The specification is https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt. Exactly the header is read from the
socket: what follows belongs to TLS or to the transport.
"""

from __future__ import annotations

import ipaddress
import socket as stdlib_socket

import trio

UNKNOWN = "unknown"
"""The address of a client whose proxy does not know it."""

LINE_BYTES = 107
"""The length of a header of version 1, at most (section 2.1)."""

BLOCK_BYTES = 2048
"""How many bytes of addresses and additional fields a header of version 2 may have. Proxies send a few hundred."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2
_START_BYTES = len(_SIGNATURE)  # less than any header of version 1
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)
_PROTOCOLS = 3  # unspecified, stream, datagram
_BLOCKS = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # two addresses, and two ports where there are any
_ADDRESSES = {_INET: 4, _INET6: 16}


async def receive_proxy_header(socket: trio.socket.SocketType) -> str | None:
    """Read the header, and return the address of the client; None where the connection is the proxy's own.

    The address is `UNKNOWN` where the proxy does not name an IP address. Additional fields are ignored. Raises
    `ValueError`, which contains nothing of the data, for anything else than a header, and `OSError`.
    """
    start = await _receive(socket, _START_BYTES)
    if start == _SIGNATURE:
        return await _receive_block(socket)
    if start.startswith(b"PROXY ") and b"\n" not in start:
        return _named_in(await _receive_line(socket, start))
    raise ValueError("no PROXY header")


async def _receive(socket: trio.socket.SocketType, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = await socket.recv(size - len(data))
        if not part:
            raise ValueError("a PROXY header without its end")
        data += part
    return bytes(data)


async def _receive_line(socket: trio.socket.SocketType, start: bytes) -> bytes:
    """Return the line that begins with `start`, up to its end or to the longest valid length."""
    line = bytearray(start)
    while len(line) < LINE_BYTES and not line.endswith(b"\n"):
        waiting = await socket.recv(LINE_BYTES - len(line), stdlib_socket.MSG_PEEK)
        line += await _receive(socket, waiting.find(b"\n") + 1 or max(1, len(waiting)))
    return bytes(line)


def _named_in(line: bytes) -> str:
    """Return the address of the client in a header of version 1."""
    wrong = ValueError("an invalid PROXY header")
    if not line.endswith(b"\r\n") or not line.isascii():
        raise wrong
    _, family, *fields = line[:-2].decode("ascii").split(" ")
    if family == "UNKNOWN":
        return UNKNOWN
    if family not in ("TCP4", "TCP6") or len(fields) != 4:
        raise wrong
    *addresses, source_port, port = fields
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        source, _ = [kind(address) for address in addresses if "%" not in address]  # no zones
    except ValueError:
        raise wrong from None
    if not (_is_port(source_port) and _is_port(port)):
        raise wrong
    return str(source)


def _is_port(text: str) -> bool:
    return text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF


async def _receive_block(socket: trio.socket.SocketType) -> str | None:
    """Return the address of the client in a header of version 2, whose signature was read."""
    command, kind, *length = await _receive(socket, 4)
    size = int.from_bytes(length, "big")
    family, protocol = kind >> 4, kind & 0x0F
    if command not in (_LOCAL, _PROXY) or size > BLOCK_BYTES:
        raise ValueError("an invalid PROXY header")
    if command == _PROXY and (protocol >= _PROTOCOLS or size < _BLOCKS.get(family, BLOCK_BYTES + 1)):
        raise ValueError("an invalid PROXY header")
    block = await _receive(socket, size)
    if command == _LOCAL:
        return None
    if family not in _ADDRESSES:
        return UNKNOWN
    return str(ipaddress.ip_address(block[: _ADDRESSES[family]]))
