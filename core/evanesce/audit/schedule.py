"""When an audit looks at its places, and what it has seen in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from evanesce.audit.canaries import Kind
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Place, Verdict
from evanesce.logs import folded

LOOK_SECONDS = 120.0
"""How long a look at one place may take."""

PURGE_SECONDS = 15.0
"""How long after the erasure of the accounts their names and mail addresses may be found. A server needs 5 s."""

PAUSE_SECONDS = 0.5
"""After how long a place is looked at again, until then."""


@dataclass(frozen=True, slots=True)
class Record:
    """A look at one place. `at` is when it began, in seconds after the end of the last message."""

    phase: Phase
    place: str
    at: float
    look: Look

    @property
    def leaks(self) -> list[Finding]:
        """What must not be there."""
        return [finding for finding in self.look.findings if finding.verdict is Verdict.LEAK]


@dataclass
class Result:
    """All looks of an audit, in order. `skipped` says what could not be tried."""

    records: list[Record] = field(default_factory=list[Record])
    skipped: list[str] = field(default_factory=list[str])

    @property
    def leaked(self) -> bool:
        """Whether something was found where it must not be."""
        return any(record.leaks for record in self.records)

    @property
    def copies(self) -> int:
        """How many copies were in memory: of content 10 s after the end, of names after their accounts were erased."""
        return sum(
            finding.count
            for record in self.records
            for finding in record.look.findings
            if finding.verdict is Verdict.COUNTED
            and record.phase is (Phase.FORGOTTEN if Kind(finding.what).belongs_to_account else Phase.TEN_SECONDS)
        )

    def failed(self, *, strict: bool) -> bool:
        """Return whether the audit fails: with `strict` also for copies in memory."""
        return self.leaked or (strict and self.copies > 0)


async def look_at_all(places: Sequence[Place], phase: Phase, ends: float) -> list[Record]:
    """Look at all places, one after the other. `ends` is when the last message ends, by Trio's clock."""
    return [await _look(place, phase, ends) for place in places]


class LooksAfterEnd:
    """The looks at all places at each of the times after the end: `records` has them, in their order, after `run`.

    Reading files and memory may take longer than there is between two times, so that each time has a task of its own.
    """

    def __init__(self, places: Sequence[Place], ends: float) -> None:
        self._places = places
        self._ends = ends
        self._records: dict[Phase, list[Record]] = {}

    @property
    def records(self) -> list[Record]:
        """The looks of all times that have passed."""
        return [record for phase in Phase for record in self._records.get(phase, ())]

    async def run(self) -> None:
        """Look at each time."""
        async with trio.open_nursery() as nursery:
            for phase in Phase:
                if phase.seconds is not None:
                    nursery.start_soon(self._look, phase, self._ends + phase.seconds)

    async def _look(self, phase: Phase, when: float) -> None:
        await trio.sleep_until(when)
        self._records[phase] = await look_at_all(self._places, phase, self._ends)


async def look_until_gone(places: Sequence[Place], known: Sequence[Record], ends: float) -> list[Record]:
    """Look at all places after the accounts were erased, again and again at those where something new is found.

    What was found before stays where it is, so a place of `known` with leaks is not looked at again.
    """
    leaking = {record.place for record in known if record.leaks}
    records = {place.name: await _look(place, Phase.FORGOTTEN, ends) for place in places}
    with trio.move_on_after(PURGE_SECONDS):
        while True:
            again = [place for place in places if records[place.name].leaks and place.name not in leaking]
            if not again:
                break
            await trio.sleep(PAUSE_SECONDS)
            for place in again:
                records[place.name] = await _look(place, Phase.FORGOTTEN, ends)
    return list(records.values())


async def _look(place: Place, phase: Phase, ends: float) -> Record:
    """Look at one place. What cannot be looked at is told, and ends nothing."""
    at = trio.current_time() - ends
    try:
        with trio.fail_after(LOOK_SECONDS):
            look = await trio.to_thread.run_sync(place.look, phase, abandon_on_cancel=True)
    except CouldNotLook as error:
        look = Look(unseen=[str(error)])
    except trio.TooSlowError:
        look = Look(unseen=[f"it took longer than {LOOK_SECONDS:g} s"])
    except (OSError, ValueError, LookupError) as error:  # such as an answer in a form that no Redis known has
        look = Look(unseen=[f"a fault of the audit: {folded(error)}"])
    return Record(phase, place.name, at, look)
