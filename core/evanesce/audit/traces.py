"""What an audit has left in the deployment, so that it is known where its canaries may be."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Traces:
    """The room of the audit and the ids of its messages.

    `ends` is when the last of its messages ends, by Trio's clock. `skipped` says what could not be sent, and why.
    """

    room_id: str = ""
    sent: list[str] = field(default_factory=list[str])
    unsent: list[str] = field(default_factory=list[str])
    ends: float = 0.0
    skipped: list[str] = field(default_factory=list[str])
