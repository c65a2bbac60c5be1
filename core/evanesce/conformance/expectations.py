"""Waits for what a transcript expects of the client, in the given order or in any."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.conformance.arrivals import MOST, Arrivals, Frame, News
from evanesce.conformance.driver import Driver
from evanesce.conformance.matching import Difference, Variables, shown
from evanesce.conformance.scripted_server import Connection
from evanesce.conformance.transcript import ClientSends, Expectation, State, Told

SECONDS = 10
TIMER_SECONDS = 0.01  # a timer may fire so much too early, by its rounding
CLOCK_SECONDS = 0.05  # so much may a client be mistaken about the server's clock after a `pong` that came at once


class Mismatch(Exception):
    """The client did not do what the transcript expects."""

    def __init__(self, expected: str, came: str, differences: Sequence[Difference] = ()) -> None:
        """Both texts are for the author of the client."""
        super().__init__(expected, came)
        self.expected = expected
        self.came = came
        self.differences = list(differences)


class Expectations:
    """Takes what the client sends and tells, and compares it with the steps of a transcript."""

    def __init__(self, variables: Variables, frames: Arrivals[Frame], driver: Driver, news: News) -> None:
        """Nothing is expected yet."""
        self.connection: Connection | None = None
        """The connection whose frames are expected."""
        self.acted_at = trio.current_time()
        """When the server or the runner last did something."""
        self.clock_uncertainty = 0.0
        """By how many seconds a client may be ahead of the server's clock, that adds half of the round trip."""
        self._variables = variables
        self._frames = frames
        self._driver = driver
        self._news = news

    async def fulfil(self, steps: Sequence[Expectation]) -> None:
        """Wait until all `steps` came true, in whichever order. Raises `Mismatch`."""
        pending = list(steps)
        start = trio.current_time()
        while pending:
            if self._take_one(pending):
                continue
            step = pending[0]
            if isinstance(step, ClientSends) and self.connection is not None:
                code = self.connection.close_code
                if code is not None:
                    raise Mismatch(_wanted(step), f"the client closed the connection with code {code}")
            self.check_driver(_wanted(step))
            deadline = min(start + (SECONDS if one.within is None else one.within) for one in pending)
            with trio.move_on_at(deadline) as scope:
                await self._news.wait()
            if scope.cancelled_caught and not self._take_one(pending):
                raise Mismatch(_wanted(step), f"nothing in {deadline - start:g} s{self.meanwhile()}")

    def _take_one(self, pending: list[Expectation]) -> bool:
        """Take one arrival that fulfils a step, and remove the step. Raises `Mismatch` if one fulfils none."""
        driver = self._driver
        kinds = ((ClientSends, self._frames), (Told, driver.events), (State, driver.states))
        for kind, arrivals in kinds:
            candidates = [step for step in pending if type(step) is kind]
            first = arrivals.first()
            if not candidates or first is None:
                continue
            arrived, came = first
            failures: list[tuple[Expectation, list[Difference]]] = []
            for step in candidates:
                differences = self._differences(step, came)
                if not differences:
                    arrivals.take()
                    pending.remove(step)
                    self._check_time(step, arrived)
                    return True
                failures.append((step, differences))
            if kind is State:  # other states may come before it
                arrivals.take()
                return True
            step, differences = min(failures, key=lambda failure: len(failure[1]))
            raise Mismatch(_wanted(step), shown(came), differences)
        return False

    def _differences(self, step: Expectation, came: Frame) -> list[Difference]:
        if isinstance(step, State):
            return self._variables.differences({"event": "state", "state": step.state} | step.fields, came)
        template = step.client if isinstance(step, ClientSends) else step.event
        return self._variables.differences(template, came, step.absent)

    def _check_time(self, step: Expectation, arrived: float) -> None:
        if not step.not_before:  # it may have come before the last step of the server
            return
        if isinstance(step.not_before, str):
            text = self._variables.value(step.not_before)
            early = self._variables.clock.at(text) - arrived - self.clock_uncertainty - CLOCK_SECONDS
            wanted = f"not before {text}, which is {step.not_before}, by the server's clock"
        else:
            early = self.acted_at + step.not_before - arrived - TIMER_SECONDS
            wanted = f"not earlier than {step.not_before:g} s after the last step of the server"
        if early > 0:
            raise Mismatch(f"{_wanted(step)}, {wanted}", f"it too early, by more than {early:.3f} s")

    def check_driver(self, expected: str) -> None:
        """Raise `Mismatch` if the client's process has ended, or tells without end."""
        code = self._driver.exit_code
        if code is not None:
            raise Mismatch(expected, f"the client's process ended with exit code {code}{self.meanwhile()}")
        if self._driver.events.flooded or self._driver.states.flooded or self._frames.flooded:
            raise Mismatch(expected, f"more than {MOST} frames or events that nobody expects{self.meanwhile()}")

    def meanwhile(self) -> str:
        """Return what came in place of what was expected, as the end of a sentence."""
        frame, event = self._frames.first(), self._driver.events.first()
        texts = [] if frame is None else [f"the client sent {shown(frame[1])}"]
        texts += [] if event is None else [f"the driver wrote {shown(event[1])}"]
        return f"; meanwhile {' and '.join(texts)}" if texts else ""


def _wanted(step: Expectation) -> str:
    """Return a step as the end of a sentence."""
    if isinstance(step, State):
        return f"the state {step.state}" + (f" with {shown(step.fields)}" if step.fields else "")
    if isinstance(step, ClientSends):
        return f"the client sends {shown(step.client)}"
    return f"the driver writes {shown(step.event)}"
