"""The outcome of a transcript, as values, as lines for a person, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from evanesce.conformance.matching import Difference
from evanesce.conformance.transcript import Json


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """The step that failed, counted from 1: what was expected, what came, and what the protocol says about it.

    `errors` is the end of what the client wrote to standard error.
    """

    number: int
    step: dict[str, Json]
    expected: str
    came: str
    differences: list[Difference]
    protocol: str
    errors: list[str]


class Outcome(msgspec.Struct, frozen=True):
    """How a transcript went, in so many seconds. `failure`: None if all steps succeeded."""

    name: str
    about: str
    seconds: float
    failure: Failure | None


def lines(outcome: Outcome) -> Iterable[str]:
    """Return the outcome as lines for a person: one if the transcript succeeded."""
    failure = outcome.failure
    yield f"{'ok    ' if failure is None else 'failed'}  {outcome.name}  {outcome.seconds:.1f} s"
    if failure is None:
        return
    yield f"        about: {outcome.about}"
    yield f"        step {failure.number}: {msgspec.json.encode(failure.step).decode()}"
    yield f"        expected: {failure.expected}"
    yield f"        came: {failure.came}"
    for difference in failure.differences:
        yield f"          {difference.path or 'as a whole'}: expected {difference.expected}; came {difference.came}"
    yield f"        protocol: {failure.protocol}"
    for error in failure.errors:
        yield f"        standard error: {error}"


def as_json(outcomes: Iterable[Outcome]) -> str:
    """Return the outcomes as a JSON array."""
    return msgspec.json.encode(list(outcomes)).decode()
