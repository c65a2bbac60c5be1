"""What members of a room were promised and what they received: which messages may be lost, and which must not be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.e2e.clients import ChatClient

SLACK_SECONDS = 1.0
"""How much earlier than an acknowledgement its loss may be told: both arrive at different connections."""


@dataclass
class Verdict:
    """The deliveries of acknowledged messages, in numbers."""

    delivered: int = 0
    lost: int = 0
    """Deliveries that are missing, where the member was told that messages may be missing."""
    untold: int = 0
    """Deliveries that are missing, where the member was told nothing: a broken promise."""
    doubled: int = 0
    """Messages that one member received twice: a broken promise."""
    foreign: int = 0
    """Messages that nobody sent, or with another content: a broken promise."""

    @property
    def broken(self) -> int:
        """How many promises were broken."""
        return self.untold + self.doubled + self.foreign


@dataclass
class RoomRecord:
    """What was sent to a room, and which of it was acknowledged when, in seconds since 1970."""

    room_id: str
    members: Sequence[ChatClient]
    sent: dict[str, str] = field(default_factory=dict[str, str])
    """The content of each message by its id, whatever became of it."""
    acknowledged: dict[str, float] = field(default_factory=dict[str, float])

    def acknowledge(self, message_id: str) -> None:
        """Note that the server has acknowledged a message just now."""
        self.acknowledged[message_id] = time.time()

    def judge(self, verdict: Verdict) -> None:
        """Compare what each member received with what was acknowledged, and add to `verdict`.

        An acknowledged message may only be missing where the member was told so, by `gap` or `missed: null`, and after
        the acknowledgement: the message was in the store that has lost it then.
        """
        for member in self.members:
            heard, told = self._read(member, verdict)
            verdict.delivered += len(self.acknowledged.keys() & heard)
            for message_id in self.acknowledged.keys() - heard:
                if told >= self.acknowledged[message_id] - SLACK_SECONDS:
                    verdict.lost += 1
                else:
                    verdict.untold += 1

    def _read(self, member: ChatClient, verdict: Verdict) -> tuple[set[str], float]:
        """Return which messages a member received, and when it was last told that some may be missing.

        Where its cursor is worth nothing any more, it begins again, and is given all that there is.
        """
        heard: set[str] = set()
        since_it_began: set[str] = set()
        told = 0.0
        for at, event in zip(member.received_at, member.record, strict=True):
            if event.get("roomId") != self.room_id:
                continue
            joined = event["type"] == "joined"
            if event["type"] == "gap" or (joined and event["missed"] is None):
                told = at
            if joined and event["missed"] is None:
                since_it_began.clear()
            for message in event["messages"] if joined else [event] if event["type"] == "message" else []:
                message_id = message["messageId"]
                verdict.doubled += message_id in since_it_began
                verdict.foreign += self.sent.get(message_id) != message["content"]
                since_it_began.add(message_id)
                heard.add(message_id)
        return heard, told
