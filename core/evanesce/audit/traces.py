"""What an audit has left in the deployment, so that it is known where its canaries may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from evanesce.model import Timestamp


@dataclass
class Traces:
    """The room of the audit and the ids of its messages.

    `ends` is when the last of its messages ends, in seconds of the monotonic clock of Trio, and `last_end` the same by
    the clock of the store. `skipped` says what could not be sent, and why.
    """

    room_id: str = ""
    sent: list[str] = field(default_factory=list[str])
    unsent: list[str] = field(default_factory=list[str])
    last_end: Timestamp | None = None
    ends: float = 0.0
    skipped: list[str] = field(default_factory=list[str])
