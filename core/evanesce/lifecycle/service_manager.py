"""What the server tells the service manager that started it: that it is ready, restarts, stops, and is alive.

The protocol is that of `sd_notify` of systemd: lines in one datagram to the Unix socket in `NOTIFY_SOCKET`. Other
service managers and container runtimes speak it too.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping

import trio

logger = logging.getLogger(__name__)

SEND_SECONDS = 1.0
"""How long the service manager may take to accept a message; then the message is dropped."""

_WAITING = 16  # messages: a server has few to send, and a service manager that takes none of them is told no more
_PINGS = 4  # in the time after which the service manager takes the server for dead


class ServiceManager:
    """Sends messages to the service manager at `address`; with None, there is none, and nothing is sent.

    `watchdog_seconds` is after how long without a sign of life it kills the server; None: it never does.
    """

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self.ping_seconds = None if watchdog_seconds is None or address is None else watchdog_seconds / _PINGS
        """How often it gets a sign of life, in seconds; None where it expects none."""
        self._put, self._messages = trio.open_memory_channel[str](_WAITING)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, pid: int | None = None) -> ServiceManager:
        """Return the service manager that `environment` names. Watchdog variables of another process than `pid` count
        for nothing; None stands for this process."""
        given = environment.get("NOTIFY_SOCKET", "")
        if not given.startswith(("/", "@")):
            return cls(None)
        # A name that begins with @ is in the abstract namespace, where it begins with a zero byte.
        address = "\0" + given[1:] if given.startswith("@") else given
        return cls(address, _watchdog_seconds(environment, os.getpid() if pid is None else pid))

    def ready(self, status: str) -> None:
        """Say that the server serves, also after a restart, or after a restart that was refused."""
        self._send_soon(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the server checks its configuration and restarts. `ready` has to follow, or the end."""
        # systemd compares this with the moment at which it asked (Type=notify-reload).
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send_soon(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=checking the configuration, then restarting")

    def stopping(self) -> None:
        """Say that the server stops."""
        self._send_soon("STOPPING=1\nSTATUS=closing all connections")

    async def run(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Send the messages, and signs of life while `alive` returns True, until cancelled.

        The event loop has to turn for both: if it hangs, there are no signs of life.
        """
        if self._address is None:
            return
        async with trio.open_nursery() as nursery:
            if self.ping_seconds is not None:
                nursery.start_soon(self._ping, self.ping_seconds, alive)
            async for message in self._messages:
                await self._send(message, self._address)

    async def _ping(self, seconds: float, alive: Callable[[], bool]) -> None:
        while True:
            if alive():
                self._send_soon("WATCHDOG=1")
            await trio.sleep(seconds)

    def _send_soon(self, message: str) -> None:
        if self._address is None:
            return
        try:
            self._put.send_nowait(message)
        except trio.WouldBlock:
            logger.debug("the service manager accepts no messages: one was dropped")

    async def _send(self, message: str, address: str) -> None:
        try:
            with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, trio.fail_after(SEND_SECONDS):
                # Without `connect` the kernel calls the socket writable while the other end is full.
                await sender.connect(address)
                await sender.send(message.encode())
        except (OSError, trio.TooSlowError) as error:
            logger.warning("the service manager did not accept a message (%s)", error or "it took too long")


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """Return after how many seconds without a sign of life the process `pid` is killed; None: never."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "")) / 1_000_000
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None
