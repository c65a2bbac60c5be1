"""The queue of calls for the thread that writes to Redis. Urgent calls are sent first."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.scripts import Command

ROUND_TRIP = 256
"""How many calls go into one round trip."""


class Call:
    """The commands of one caller, in order. `answers` has the answer of each, or one error for all."""

    __slots__ = ("answers", "commands", "size", "task")

    def __init__(self, commands: Sequence[Command], task: trio.lowlevel.Task | None) -> None:
        self.commands = commands
        self.task = task
        # Messages are bytes; all other arguments are small.
        self.size = sum([len(argument) for command in commands for argument in command if type(argument) is bytes])
        self.answers: list[Any] | StoreUnavailable | None = None


class CallQueue:
    """Calls that wait to be sent. Any thread may add calls; one thread takes them. The caller limits their number."""

    def __init__(self) -> None:
        self._ordinary: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        """The calls in order. None wakes the thread that takes them."""
        self._urgent: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def put(self, call: Call, *, urgent: bool) -> None:
        """Add a call. An urgent call is taken before all others."""
        if urgent:
            self._urgent.put(call)
            self._ordinary.put(None)
        else:
            self._ordinary.put(call)

    def wake(self) -> None:
        """Make the next `take` return, even if there is no call."""
        self._ordinary.put(None)

    def take(self, timeout: float | None = None) -> list[Call] | None:
        """Wait for calls, and return those for one round trip: [] after `wake`, None after `timeout` seconds."""
        try:
            call = self._ordinary.get(timeout=timeout)
        except queue.Empty:
            return None
        calls = self._take_urgent()
        while call is not None:
            calls.append(call)
            if len(calls) >= ROUND_TRIP:
                break
            try:
                call = self._ordinary.get_nowait()
            except queue.Empty:
                break
        return calls

    def _take_urgent(self) -> list[Call]:
        calls: list[Call] = []
        while len(calls) < ROUND_TRIP:
            try:
                calls.append(self._urgent.get_nowait())
            except queue.Empty:
                break
        return calls
