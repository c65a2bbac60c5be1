"""The calls that wait to be sent to Redis. Urgent calls are sent first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.scripts import Command

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Call:
    """The commands of one caller, in order. `answers` has the answer of each, or one error for all.

    `done` is called with the call when it has its answers; None where nobody waits for them. `submitted_at` and
    `sent_at` are in seconds of Trio's clock. A `repeat` runs scripts again that Redis did not know. `unknown`: it did
    not know one of this call. `span` is its span in a trace, if it has one.
    """

    __slots__ = (
        "answers",
        "commands",
        "done",
        "received",
        "repeat",
        "sent_at",
        "size",
        "span",
        "submitted_at",
        "unknown",
    )

    def __init__(
        self,
        commands: Sequence[Command],
        done: Callable[[Call], None] | None,
        submitted_at: float,
        *,
        repeat: bool = False,
    ) -> None:
        self.commands = commands
        self.done = done
        self.repeat = repeat
        self.unknown = False
        self.span: Span | None = None
        self.submitted_at = self.sent_at = submitted_at
        # Messages are bytes; all other arguments are small.
        self.size = sum([len(argument) for command in commands for argument in command if type(argument) is bytes])
        self.received: list[Any] = []
        """The answers that have arrived so far."""
        self.answers: list[Any] | StoreUnavailable | None = None


class CallQueue:
    """Calls that wait to be sent. The caller limits their number."""

    def __init__(self) -> None:
        self._first: deque[Call] = deque()
        self._urgent: deque[Call] = deque()
        self._ordinary: deque[Call] = deque()

    def __len__(self) -> int:
        return len(self._first) + len(self._urgent) + len(self._ordinary)

    def put(self, call: Call, *, urgent: bool) -> None:
        """Add a call. An urgent call is taken before all others."""
        (self._urgent if urgent else self._ordinary).append(call)

    def put_first(self, call: Call) -> None:
        """Add a call that is taken before all others, also before urgent ones, after those that were added so."""
        self._first.append(call)

    def keep(self, calls: Container[Call]) -> None:
        """Remove all calls but these."""
        self._first = deque(call for call in self._first if call in calls)
        self._urgent = deque(call for call in self._urgent if call in calls)
        self._ordinary = deque(call for call in self._ordinary if call in calls)

    def take(self, most: int) -> list[Call]:
        """Take up to `most` calls."""
        calls: list[Call] = []
        for queue in (self._first, self._urgent, self._ordinary):
            while queue and len(calls) < most:
                calls.append(queue.popleft())
        return calls
