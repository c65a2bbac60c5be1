"""The processes of a deployment on this machine, found in /proc: the servers, their supervisor, and a Redis."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_LISTEN = "0A"  # TCP_LISTEN
_REDIS = ("valkey-server", "redis-server")
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid

SUPPORTED = sys.platform == "linux"
"""Whether this system has the /proc that is read here."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process: `role` is `server`, `supervisor`, `Redis` or `child`."""

    pid: int
    role: str

    @property
    def label(self) -> str:
        """Its name in the report."""
        return f"{self.role} {self.pid}"

    @property
    def folder(self) -> Path:
        """Its folder in /proc."""
        return PROC / str(self.pid)

    def path(self, inside: str) -> Path:
        """Return where a file that the process knows as `inside` is seen from here.

        In a container it is another one than here, and is reached by the root folder of the process.
        """
        reached = self.folder / "root" / inside.lstrip("/")
        try:
            return Path(inside) if os.path.samefile(reached, inside) else reached
        except FileNotFoundError:  # of this name there is none here
            return reached
        except OSError:  # this user may not see the folders of the process
            return Path(inside)

    def working_folder(self) -> Path | None:
        """Return its working folder; None if it cannot be read."""
        try:
            return self.path(os.readlink(self.folder / "cwd"))
        except OSError:
            return None

    def environment(self, name: str) -> str | None:
        """Return a variable of the environment it was started with; None if there is none, or it cannot be read."""
        try:
            pairs = (self.folder / "environ").read_bytes().split(b"\0")
        except OSError:
            return None
        start = os.fsencode(f"{name}=")
        return next((os.fsdecode(pair[len(start) :]) for pair in pairs if pair.startswith(start)), None)

    def descriptors(self) -> Iterator[tuple[int, str]]:
        """Return its open descriptors and what they refer to. Raises `OSError` if they cannot be read."""
        folder = self.folder / "fd"
        for name in os.listdir(folder):
            try:
                yield int(name), os.readlink(folder / name)
            except FileNotFoundError:  # closed meanwhile
                continue


def deployment(ports: Collection[int]) -> list[Process]:
    """Return the processes that listen on TCP `ports`, with their supervisor and all their children.

    Only processes that this user may examine are found. This process is never among them.
    """
    if not SUPPORTED:
        return []
    found = {pid: Process(pid, "server") for pid in listeners(ports)}
    parents = _parents()
    for pid in list(found):
        parent = parents.get(pid, 0)
        if parent not in found and _is_supervisor(parent):
            found[parent] = Process(parent, "supervisor")
    for pid in list(found):
        for child in _descendants(pid, parents):
            found.setdefault(child, Process(child, "Redis" if _name(child).startswith(_REDIS) else "child"))
    found.pop(os.getpid(), None)
    return sorted(found.values(), key=lambda process: process.pid)


def embedded_redis(processes: Iterable[Process]) -> tuple[Process, Path] | None:
    """Return the embedded Valkey among the processes of a deployment, and its socket; None if there is none."""
    for process in processes:
        folder = process.working_folder() if process.role == "Redis" else None
        if folder is not None and (folder / "valkey.sock").is_socket():
            return process, folder / "valkey.sock"
    return None


def redis_at(endpoint: tuple[str, int] | str) -> Process | None:
    """Return the Redis at a host and port, or at a Unix socket; None if it does not run here, or as another user."""
    if not SUPPORTED:
        return None
    if isinstance(endpoint, str):
        pid = _peer(endpoint)
        return Process(pid, "Redis") if pid else None
    host, port = endpoint
    if not _is_own(host):
        return None
    return next((Process(pid, "Redis") for pid in listeners([port]) if _name(pid).startswith(_REDIS)), None)


def listeners(ports: Collection[int]) -> list[int]:
    """Return the ids of the processes that listen on TCP `ports`, as far as this user may examine them."""
    sockets = {f"socket:[{inode}]" for port, inode in _listening() if port in ports}
    if not sockets:
        return []
    found: list[int] = []
    for pid in _pids():
        try:
            if any(target in sockets for _, target in Process(pid, "").descriptors()):
                found.append(pid)
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def _listening() -> Iterator[tuple[int, str]]:
    """Return the port and the inode of each listening TCP socket."""
    for file in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / file).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN:
                yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for pid in _pids():
        try:
            status = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
        except OSError:
            continue
        found[pid] = int(status.rpartition(")")[2].split()[1])
    return found


def _descendants(pid: int, parents: dict[int, int]) -> Iterator[int]:
    for child, parent in parents.items():
        if parent == pid:
            yield child
            yield from _descendants(child, parents)


def _is_supervisor(pid: int) -> bool:
    """Return whether a process is `evanesce serve`."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return False
    return "serve" in words and any(Path(word).name == "evanesce" for word in words)


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _peer(path: str) -> int:
    """Return the id of the process that listens on a Unix socket; 0 if it is in another container, or there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError:
            return 0
    return int(_PEER.unpack(credentials)[0])


def _is_own(host: str) -> bool:
    """Return whether a host is this machine: whether a socket can be bound to one of its addresses."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.bind(address)
        except OSError:
            continue
        return True
    return False
