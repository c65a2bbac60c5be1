"""The processes of a contender: pin them to a core, stop them with their children, and measure their usage."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from evanesce.store.embedded import valkey_binary

START_SECONDS = 30.0
"""How long a server may take until it says that it listens."""

_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_core(core: int) -> Generator[None, None, None]:
    """Run what is started in this context on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} if core in before else before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(
    command: Sequence[str], folder: Path, core: int, ready: str | int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server on a core, and wait until it has said `ready`, or, for a number, answers HTTP on that port."""
    with (folder / "errors.log").open("ab") as errors, on_core(core):
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if isinstance(ready, str) else errors,
            stderr=errors,
            env=os.environ | dict(environment or {}),
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    if _says(process, ready, deadline) if isinstance(ready, str) else _answers(process, ready, deadline):
        return process
    end(process)
    errors_text = (folder / "errors.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{command[0]} did not get ready, and wrote:\n{errors_text}")


def _says(process: subprocess.Popen[bytes], ready: str, deadline: float) -> bool:
    assert process.stdout is not None
    said = b""
    while ready.encode() not in said:
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(process.stdout.fileno(), 4096) if readable else b""
        if not more:
            return False
        said += more
    return True


def _answers(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    """Ask until a process of the server, not only the kernel, answers."""
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if connection.recv(1):
                return True
        time.sleep(0.05)
    return False


def start_valkey(path: Path, core: int, port: int = 0) -> subprocess.Popen[bytes]:
    """Start the Valkey that Evanesce embeds, with its settings, at a Unix socket, and at a port if it is not 0."""
    binary = str(valkey_binary())
    listen = ["--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(path)]
    options = [*listen, "--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "notice"]
    return start([binary, *options], path.parent, core, "Ready to accept connections")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server as a deployer does, and, where it does not go, by force, with its children."""
    with process:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # `start` gave it a session, and with it a group, of its own


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return how long processes have run, in user and kernel mode, all their threads, in hundredths of a second."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def busy_seconds(core: int) -> float:
    """Return how long a core has been busy with any processes; 0 where the system does not tell."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, interrupts, soft_interrupts, stolen = (int(tick) for tick in ticks[:8])
            return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICKS
    return 0.0


def resident_bytes(pids: Sequence[int]) -> int:
    """Return how much memory processes hold."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids)


def anonymous_bytes(pids: Sequence[int]) -> int:
    """Return how much memory is processes' own: what they share with files is not counted."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1]) * 1024
    return total


def machine() -> str:
    """Return a description of this machine."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
