"""What a place is that an audit looks at, when it looks, and what it can find there."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evanesce.audit.canaries import Kind
from evanesce.errors import EvanesceError


class Phase(enum.StrEnum):
    """When the places are looked at. The times count from the end of the last message."""

    BEFORE = "before"
    HALF_SECOND = "end+0.5"
    ONE_SECOND = "end+1"
    TEN_SECONDS = "end+10"
    FORGOTTEN = "erased"

    @property
    def words(self) -> str:
        """What people read."""
        return _TITLES[self]

    @property
    def seconds(self) -> float | None:
        """How long after the end of the last message it is; None for those that wait for something else."""
        return _SECONDS.get(self)


_SECONDS = {Phase.HALF_SECOND: 0.5, Phase.ONE_SECOND: 1.0, Phase.TEN_SECONDS: 10.0}
_TITLES = {
    Phase.BEFORE: "before the end",
    **{phase: f"end + {seconds:g} s" for phase, seconds in _SECONDS.items()},
    Phase.FORGOTTEN: "account erased",
}


class Verdict(enum.StrEnum):
    """What a finding means."""

    EXPECTED = "expected"
    """It may be there: a live message in its own key, or the name of an account in the database."""
    COUNTED = "counted"
    """A copy in memory that is not in use any more, which nobody can promise to wipe."""
    LEAK = "leak"
    """It must not be there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found: `what` is the kind of the canaries, or the name of a setting. `where` is for people."""

    what: str
    where: str
    count: int
    verdict: Verdict


class CouldNotLook(EvanesceError):
    """A place could not be looked at. The text is the reason, and what the deployer can do."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a look at one place: `findings`, `unseen` (what of it could not be looked at), and a `note`."""

    findings: Sequence[Finding] = ()
    unseen: Sequence[str] = ()
    note: str = ""


class Place(Protocol):
    """A place that an audit looks at."""

    @property
    def name(self) -> str:
        """Its name in the report."""
        ...

    def look(self, phase: Phase) -> Look:
        """Look at the place. Blocks. Raises `CouldNotLook` where nothing of it can be seen."""
        ...


def leaks(found: Counter[Kind], where: str) -> Iterable[Finding]:
    """Return the findings in a place that may hold no canary."""
    return (Finding(str(kind), where, count, Verdict.LEAK) for kind, count in found.items())
