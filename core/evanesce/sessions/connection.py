"""A client's connection as the server writes to it: without waiting, and closed where the client is too slow."""

from __future__ import annotations

import logging
import random

import trio
from msgspec import UNSET

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.delivery.outbox import Outbox
from evanesce.errors import INTERNAL_REASON, CloseCode
from evanesce.interfaces import Connection
from evanesce.metrics import Metrics
from evanesce.plugins.faults import describe
from evanesce.protocol import events

logger = logging.getLogger(__name__)

SLOW_SECONDS = 3.0
"""How long a client that is behind may read too little, before its connection is closed."""

LEAST_SHARE = 64
"""The part of the outbox that it must read in that time: a 64th, which is 16 KiB of the default 1 MiB."""

CLOSE_SECONDS = 4.0
"""How long a transport may take to close a connection: twice what its contract says."""

ANONYMOUS_BYTES = 64 * 1024
"""How many bytes may wait for a client before it has signed in.

With the frame that is read, of at most 64 KiB by default, such a client holds less than 256 KiB.
"""

_BACKLOG_SHARE = 4  # a connection is backlogged when a fourth of its outbox is full
_OFFERED_SHARE = 0.75  # of its outbox is for messages; the rest is for replies and for joins and leaves
_TOO_SLOW = "Too slow: too much data was waiting. Reconnect, and resume with `since`."
_ANONYMOUS_TOO_SLOW = "Too slow: too much data was waiting. Read the replies."


class ClientConnection:
    """The writing side of one connection, and its end.

    `scope` is cancelled by `end`: what serves the connection runs in it.
    """

    __slots__ = (
        "_connection",
        "_ending",
        "_may_return",
        "_metrics",
        "_most_offered",
        "_open",
        "_outbox",
        "_outbox_bytes",
        "_slow",
        "anonymous",
        "scope",
    )

    def __init__(self, connection: Connection, outbox_bytes: int, metrics: Metrics) -> None:
        self.scope = trio.CancelScope()
        self._connection = connection
        outbox = getattr(connection, "outbox", None)
        self._outbox = outbox if isinstance(outbox, Outbox) else connection
        self._outbox_bytes = outbox_bytes
        self._most_offered = int(outbox_bytes * _OFFERED_SHARE)
        self._metrics = metrics
        self._slow: SlowReader | None = None  # most connections never have one
        self.anonymous = True
        """Whether no user has signed in: then less may wait for the client."""
        self._open = True
        self._ending: tuple[CloseCode, str] | None = None
        self._may_return = True

    @property
    def address(self) -> str:
        """The client's address."""
        return self._connection.address

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        return self._connection.local

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client; 0 where a connection of a plugin cannot say."""
        try:
            return self._outbox.waiting_bytes
        except Exception:  # a connection is a plugin's code: it must not take the metrics away
            return 0

    @property
    def backlogged(self) -> bool:
        """Whether a fourth of the outbox is full."""
        return self._outbox.waiting_bytes > self._outbox_bytes // _BACKLOG_SHARE

    @property
    def ending(self) -> CloseCode | None:
        """The close code with which the server ends the connection; None while it does not end it."""
        return None if self._ending is None else self._ending[0]

    def write(self, frame: Frame) -> None:
        """Write a frame. Where the outbox has no room for it, the connection is ended."""
        if not self._open:
            return
        if self._slow is not None:
            self._slow.wrote(len(frame.payload))
        if not self._write(frame):
            self.end(CloseCode.TOO_SLOW, _TOO_SLOW)
        elif self.anonymous and self._outbox.waiting_bytes > ANONYMOUS_BYTES:
            self.end(CloseCode.TOO_SLOW, _ANONYMOUS_TOO_SLOW)

    def reply(self, reply: events.Reply) -> None:
        """Write a reply in a frame of its own."""
        self.write(Frame([Outgoing(reply)]))

    def offer(self, frame: Frame) -> bool:
        """Write a frame if the outbox has room for it beside the replies; return False if it was not written."""
        outbox = self._outbox
        waiting = outbox.waiting_bytes
        if not waiting:  # the usual case, of which many make a delivery: no call that is not needed
            if self._slow is not None:
                self._slow.wrote(len(frame.payload))
            try:
                return not self._open or outbox.write(frame) or self._refused(0)
            except BaseException as error:  # as in `_write`
                self.fail(error)
                return True
        size = len(frame.payload)
        if self._open and (waiting + size > self._most_offered or not self._write(frame)):
            return self._refused(waiting)
        if self._slow is not None:
            self._slow.wrote(size)
        return True

    def _write(self, frame: Frame) -> bool:
        try:
            return self._outbox.write(frame)
        except BaseException as error:  # a connection is a plugin's code; nothing waits here, so nothing is cancelled
            self.fail(error)
            return True  # the client is not too slow

    def _refused(self, waiting: int) -> bool:
        if self._slow is None:
            self._slow = SlowReader(self._outbox_bytes)
        if not self._slow.watches:
            self._slow.refused(trio.current_time(), waiting, self._outbox.unacknowledged_bytes)
        return False

    def check_progress(self, now: float) -> None:
        """End the connection of a client that is behind and reads too little. Call it once a second or more often."""
        slow = self._slow
        if slow is None or not slow.watches:
            return
        if slow.is_stalled(now, self._outbox.waiting_bytes, self._outbox.unacknowledged_bytes):
            self.end(CloseCode.TOO_SLOW, _TOO_SLOW)

    def end(self, code: CloseCode, reason: str, *, may_return: bool = True) -> None:
        """End the connection; the first reason counts.

        `may_return` False forbids the client to reconnect by itself, where `code` would allow it.
        """
        if self._ending is None:
            self._ending = (code, reason)
            self._may_return = may_return
            self.scope.cancel()

    def fail(self, error: BaseException, *, overrides: bool = False) -> None:
        """Log and count a fault that belongs to this connection, and end it; `overrides` replaces an earlier reason."""
        self._report(error)
        if overrides and self._ending is not None:
            self._ending = (CloseCode.INTERNAL, INTERNAL_REASON)
        else:
            self.end(CloseCode.INTERNAL, INTERNAL_REASON)

    def _report(self, error: BaseException) -> None:
        logger.error("a session failed: %s", describe(error))
        self._metrics.faults.labels("session").inc()

    def stop_writing(self) -> None:
        """Discard what is written from now on."""
        self._open = False

    async def close(self) -> None:
        """Close the connection with the reason of `end`, or as a normal end where there is none. Raises nothing."""
        code, reason = self._ending or (CloseCode.NORMAL, "")
        goodbye: Frame | None = None
        if self._ending is not None:
            self._metrics.closed.labels(str(code.value)).inc()
            goodbye = Frame([Outgoing(_goodbye(code, reason, reconnect=code.reconnect and self._may_return))])
        try:
            with trio.move_on_after(CLOSE_SECONDS):
                await self._connection.close(code.value, reason, goodbye)
            self._metrics.skipped.inc(self._connection.skipped)
        except BaseException as error:  # a connection is a plugin's code; the caller is shielded from cancellation
            self._report(error)


class SlowReader:
    """Watches a connection from the moment when something did not fit until nothing waits for it any more.

    `outbox_bytes` is how much may wait for the connection. Times are seconds of Trio's clock.
    """

    __slots__ = ("_least", "_since", "_waiting", "watches")

    def __init__(self, outbox_bytes: int) -> None:
        self._least = outbox_bytes // LEAST_SHARE
        self._since = 0.0
        self._waiting = 0  # what waited or was on its way at that time, and what was written since
        self.watches = False
        """Whether the client is behind."""

    def refused(self, now: float, waiting_bytes: int, unacknowledged_bytes: int) -> None:
        """Note that something did not fit beside the `waiting_bytes` and the bytes that the network has."""
        if not self.watches:
            self._since, self._waiting = now, waiting_bytes + unacknowledged_bytes
            self.watches = True

    def wrote(self, count: int) -> None:
        """Note that `count` more bytes were written."""
        self._waiting += count

    def is_stalled(self, now: float, waiting_bytes: int, unacknowledged_bytes: int) -> bool:
        """Return whether the client has read too little for too long; call it once a second or more often.

        Only acknowledged bytes count as read: the kernel takes many bytes at once and then none for a long time, all
        the more where packets are lost.
        """
        left = waiting_bytes + unacknowledged_bytes
        if not self.watches:
            return False
        if not waiting_bytes:
            self.watches = False
        elif self._waiting - left >= self._least:
            self._since, self._waiting = now, left
        else:
            return now - self._since >= SLOW_SECONDS
        return False


def _goodbye(code: CloseCode, reason: str, *, reconnect: bool) -> events.Goodbye:
    # Jitter: clients that the server disconnects together must not all come back at the same moment.
    after = round(random.uniform(0.5, 3.0), 3) if reconnect else UNSET
    return events.Goodbye(code=code.value, reason=reason, reconnect=reconnect, reconnect_after=after)
