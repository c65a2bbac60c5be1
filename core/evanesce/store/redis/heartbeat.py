"""Whether a subscriber receives what Redis publishes: each second this server publishes a heartbeat to itself."""

from __future__ import annotations

import logging

import trio

from evanesce.store.redis.faults import ENDED, UNKNOWN

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
"""How often a heartbeat is published."""

MISSED = 3
"""How many heartbeats in a row must be published and not received until the subscription counts as lost."""

SILENCE = "Nothing arrives on the subscriber's connection, although it is open."
"""The cause that is logged if the connection itself reported none."""


_UNSPECIFIC = (UNKNOWN.meaning, ENDED.meaning)


class Heartbeat:
    """The state of one subscriber's heartbeats. Use it from the Trio thread alone.

    A heartbeat counts as missed only if Redis accepted it: that Redis does not answer at all is another fault, which
    those who send commands notice. Any message that is received counts as a heartbeat, so a subscriber that is only
    slow does not count as lost.
    """

    def __init__(self) -> None:
        self._received = False  # since the last heartbeat began
        self._awaited = False  # the last heartbeat was published
        self._missed = 0
        self._cause: str | None = None
        self._lost_since: float | None = None
        self.outage = 0
        """How many outages there were, including the present one."""

    @property
    def up(self) -> bool:
        """Whether published messages are believed to arrive."""
        return self._lost_since is None

    def received(self) -> None:
        """Record that a published message arrived."""
        self._received = True
        self._missed = 0
        self._cause = None
        if self._lost_since is not None:
            seconds = trio.current_time() - self._lost_since
            self._lost_since = None
            logger.info("what the message store publishes arrives again, after %.0f s", seconds)

    def failed(self, cause: str) -> None:
        """Record why the subscriber has no connection, or why a heartbeat was refused.

        A cause that says only that Redis does not answer, or ended the connection, does not replace a specific one.
        """
        if self._cause is None or cause not in _UNSPECIFIC:
            self._cause = cause

    def begin(self) -> bool:
        """Evaluate the last heartbeat and begin the next. Return whether the subscriber has to reconnect."""
        missed = self._awaited and not self._received
        self._received = self._awaited = False
        if not missed:
            return False
        self._missed += 1
        if self._missed < MISSED:
            return False
        self._missed = 0  # the next connection gets as many heartbeats
        if self._lost_since is None:
            self._lost_since = trio.current_time()
            self.outage += 1
            logger.warning(
                "what the message store publishes does not arrive; it is read from the store meanwhile: %s",
                self._cause or SILENCE,
            )
        return True

    def published(self) -> None:
        """Record that Redis accepted the heartbeat, or refused only the heartbeat."""
        self._awaited = True
