"""Whether the store works, and whether it deletes what has expired."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """How many keys `servers` servers deleted in the last minute, and how late.

    `p99` and `worst` are the 99th percentile and the maximum of the time from a key's end to its deletion, in seconds.
    Both are upper bounds.
    """

    servers: int
    keys: int
    p99: float
    worst: float


class Severity(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check of the store, and what a deployer should do about it (empty if nothing)."""

    part: str
    severity: Severity
    text: str
    advice: str = ""


class Health(Protocol):
    """Checks of the store."""

    @property
    def healthy(self) -> bool:
        """Whether the store answered the last request, and `subscriber_up`."""
        ...

    @property
    def subscriber_up(self) -> bool:
        """Whether this server receives what the store publishes.

        It becomes False within 4 s after nothing is received any more, while the store answers. Until it is True
        again, followers get `HistoryLost` once, and events arrive with a delay of a second or more.
        """
        ...

    async def probe(self, seconds: float = 2.2) -> None:
        """Send a test message through every step of a real one: subscribe, store, receive, read, erase.

        It leaves nothing in the store. Raises `StoreUnavailable`, with the step that failed, if the message does not
        arrive within `seconds`. In a cluster, one primary that works is enough.
        """
        ...

    async def check(self) -> Sequence[CheckResult]:
        """Try everything that the server needs of the store, and look for settings that keep content beyond its TTL.

        This is for a deployer, who can wait: it may take 10 s. If the store cannot be used, it returns findings that
        say so and does not raise.
        """
        ...

    async def content_on_disk(self) -> Sequence[CheckResult]:
        """Return what would keep content on disk beyond its TTL, or cannot be examined; nothing if all is well."""
        ...

    async def expiry_report(self) -> ExpiryReport | None:
        """Return how late all servers delete what has expired; None if they deleted nothing in the last minute."""
        ...
