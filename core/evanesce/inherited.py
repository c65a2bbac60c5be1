"""Listening sockets that a service manager has opened and passed to this process (socket activation of systemd).

A `bind` whose address is that of such a socket uses it, so the configuration is the same with and without them. The
service manager keeps the socket: while the server restarts, clients wait in the kernel and none is refused.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from evanesce.errors import ConfigurationError
from evanesce.webaddress import join_host_port

_FIRST = 3  # systemd's SD_LISTEN_FDS_START: the descriptors follow the standard streams
_MOST = 64
_WORKER = "EVANESCE_LISTEN_FDS"  # of our own: LISTEN_PID names the supervisor, and a worker's id is not known before
_HINT = "Start the server by its service manager, or without LISTEN_FDS in the environment"


class InheritedSockets:
    """The listening sockets with these descriptors. They stay open as long as the process, also when it restarts.

    Raises `ConfigurationError` for a descriptor that is not a listening stream socket.
    """

    def __init__(self, descriptors: tuple[int, ...]) -> None:
        self.descriptors = descriptors
        self._addresses = {descriptor: _address(descriptor) for descriptor in descriptors}
        self._inodes = {os.fstat(descriptor).st_ino for descriptor in descriptors}
        self._used: set[int] = set()

    def find(self, family: int, address: object) -> socket.socket | None:
        """Return a duplicate of the socket that listens on `address`; None where there is none."""
        for descriptor, known in self._addresses.items():
            if known == (family, address):
                self._used.add(descriptor)
                return socket.socket(fileno=os.dup(descriptor))
        return None

    def has(self, path: Path) -> bool:
        """Return whether one of these is the Unix socket `path`, which is used then."""
        if (passed := self.find(socket.AF_UNIX, os.path.abspath(path))) is None:
            return False
        passed.close()
        return True

    def holds(self, descriptor: int) -> bool:
        """Return whether `descriptor` is one of these sockets, or a duplicate."""
        return bool(self._inodes) and os.fstat(descriptor).st_ino in self._inodes

    def refuse_unused(self) -> None:
        """Raise `ConfigurationError` where a socket is no bind's: clients would wait there without an answer."""
        for descriptor in self.descriptors:
            if descriptor not in self._used:
                family, address = self._addresses[descriptor]
                shown = address if family == socket.AF_UNIX else join_host_port(*address[:2])
                raise ConfigurationError(
                    "LISTEN_FDS",
                    f"the service manager listens on {shown}, which is no bind of a transport or of [admin]",
                    "Write the same address in the socket unit (ListenStream) and in the bind",
                )

    def worker_environment(self) -> dict[str, str]:
        """Return the environment of this process for a worker that inherits the sockets too."""
        own = {_WORKER: ",".join(map(str, self.descriptors))} if self.descriptors else {}
        return os.environ | own


@functools.cache
def inherited_sockets() -> InheritedSockets:
    """Return the sockets that were passed to this process. Raises `ConfigurationError`."""
    return InheritedSockets(passed_descriptors(os.environ, os.getpid()))


def passed_descriptors(environment: Mapping[str, str], pid: int) -> tuple[int, ...]:
    """Return the descriptors that were passed to the process `pid`. Raises `ConfigurationError`."""
    try:
        if given := environment.get(_WORKER):
            return tuple(map(int, given.split(",")))
        if environment.get("LISTEN_PID") != str(pid):
            return ()
        number = int(environment.get("LISTEN_FDS", "0"))
    except ValueError:
        raise ConfigurationError("LISTEN_FDS", "is not a number", _HINT) from None
    if not 0 <= number <= _MOST:
        raise ConfigurationError("LISTEN_FDS", f"is not from 0 to {_MOST}", _HINT)
    return tuple(range(_FIRST, _FIRST + number))


def _address(descriptor: int) -> tuple[int, tuple[str, int]]:
    """Return the family and the address of a listening socket. Raises `ConfigurationError` for anything else."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return one.family, one.getsockname()
    except OSError:
        pass
    raise ConfigurationError("LISTEN_FDS", f"descriptor {descriptor} is not a listening stream socket", _HINT)
