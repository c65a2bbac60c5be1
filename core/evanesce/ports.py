"""Listening sockets: opened on all addresses of a host, and the check whether a port is free."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import trio

from evanesce.errors import ConfigurationError
from evanesce.inherited import inherited_sockets
from evanesce.unixsockets import refuse_unusable
from evanesce.webaddress import UNIX, is_unix, split_host_port


async def refuse_taken(binds: Iterable[tuple[str, str]]) -> None:
    """Raise `ConfigurationError` for the first of `binds`, pairs of a setting and its address, that is not free.

    Several processes are going to share these ports by SO_REUSEPORT, and the kernel would let them share one with
    another program of the same user as well.
    """
    for setting, bind in binds:
        try:
            await probe(bind)
        except OSError as error:
            raise ConfigurationError(
                setting,
                f"cannot listen on {bind} ({error.strerror or error})",
                "Choose an address of this machine and a port, or the path of a socket, that nothing else listens on",
            ) from None


async def refuse_misassigned(binds: Sequence[tuple[str, str]]) -> None:
    """Raise `ConfigurationError` for two of `binds`, pairs of a setting and its address, with one address.

    Also for a socket of the service manager that none of them has: clients would wait there without an answer.
    """
    owners: dict[str, str] = {}
    for setting, bind in binds:
        other = owners.setdefault(bind, setting)
        if other != setting and not bind.endswith(":0"):
            raise ConfigurationError(setting, f"is the address of {other} as well", "Choose an address for each")
        await _claim(bind)
    inherited_sockets().refuse_unused()


async def _claim(bind: str) -> None:
    """Mark the service manager's sockets that have the address `bind` as used."""
    inherited = inherited_sockets()
    if not inherited.descriptors:
        return
    if is_unix(bind):
        inherited.has(Path(bind.removeprefix(UNIX)))
        return
    host, port = split_host_port(bind)
    for family, _, _, _, address in await _addresses(host, port):
        if (passed := inherited.find(family, address)) is not None:
            passed.close()


async def probe(bind: str) -> None:
    """Raise `OSError` where the server cannot listen on `bind`, `host:port` or `unix:path`.

    The port is in use then, also by programs that share it by SO_REUSEPORT, or the address is not of this machine.
    """
    if is_unix(bind):
        refuse_unusable(Path(bind.removeprefix(UNIX)))
        return
    try:
        host, port = split_host_port(bind)
        if port is None:
            raise ValueError("has no port")
    except ValueError as error:
        raise OSError(errno.EINVAL, f"{bind} {error}") from None
    for bound in await open_bound_sockets(host, port, shared=False):
        bound.close()


async def open_bound_sockets(host: str, port: str | int, *, shared: bool) -> list[socket.socket]:
    """Return a socket for each address of `host`, bound to `port`, to listen on. Raises `OSError`.

    `shared` sets SO_REUSEPORT, so that several processes can listen on the port: it has no effect after `bind`. Where
    the service manager passed a socket with such an address, a duplicate of it is returned.
    """
    found = await _addresses(host, port)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            if (passed := inherited_sockets().find(family, address)) is not None:
                sockets.append(passed)
                continue
            try:
                opened = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:  # a system without IPv6 returns IPv6 addresses all the same
                    raise
                continue
            sockets.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind(address)
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


async def _addresses(host: str, port: str | int | None) -> list[tuple[int, int, int, str, Any]]:
    found = await trio.socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(found)
