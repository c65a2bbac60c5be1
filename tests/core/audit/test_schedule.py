"""All places are looked at at all times, and a place that fails ends nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from evanesce.audit import schedule
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict
from evanesce.audit.schedule import LooksAfterEnd, Record, Result, look_at_all, look_until_gone
from tests.patience import within

LEAK = Finding("name", "somewhere", 1, Verdict.LEAK)


class Scripted:
    """A place with a result for each look; the last one stays."""

    def __init__(self, name: str, *results: Look | Exception) -> None:
        self.name = name
        self.phases: list[Phase] = []
        self._results = list(results)

    def look(self, phase: Phase) -> Look:
        self.phases.append(phase)
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, Exception):
            raise result
        return result


async def test_each_place_is_looked_at_at_each_time_in_order() -> None:
    places = [Scripted("a", Look()), Scripted("b", Look())]
    looks = LooksAfterEnd(places, trio.current_time() - 9.9)
    with within(2):
        await looks.run()
    assert [(record.phase, record.place) for record in looks.records] == [
        (phase, name) for phase in (Phase.HALF_SECOND, Phase.ONE_SECOND, Phase.TEN_SECONDS) for name in ("a", "b")
    ]
    assert looks.records[-1].at >= 10.0


async def test_no_time_waits_for_a_slow_look() -> None:
    release = trio.Event()

    class Slow(Scripted):
        def look(self, phase: Phase) -> Look:
            if phase is Phase.HALF_SECOND:
                trio.from_thread.run(release.wait)
            return super().look(phase)

    place = Slow("slow", Look())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LooksAfterEnd([place], trio.current_time() - 10.0).run)
        with within(10):
            while len(place.phases) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
        release.set()
    assert set(place.phases) == {Phase.HALF_SECOND, Phase.ONE_SECOND, Phase.TEN_SECONDS}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CouldNotLook("it is another user's"), "it is another user's"),
        (ValueError("q0123"), "a fault of the audit: ValueError"),
        (PermissionError(13, "q0123"), "a fault of the audit: PermissionError"),
    ],
)
async def test_a_place_that_cannot_be_looked_at_is_told(error: Exception, told: str) -> None:
    first, second = await look_at_all([Scripted("a", error), Scripted("b", Look())], Phase.BEFORE, 0.0)
    [unseen] = first.look.unseen
    assert unseen.startswith(told)
    assert "q0123" not in unseen, "the text of an exception may hold a canary"
    assert second.look == Look()


async def test_a_look_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.05)
    release = trio.Event()

    class Endless(Scripted):
        def look(self, phase: Phase) -> Look:
            trio.from_thread.run(release.wait)
            return Look()

    [record] = await look_at_all([Endless("a", Look())], Phase.BEFORE, 0.0)
    assert record.look.unseen == ["it took longer than 0.05 s"]
    release.set()


async def test_what_goes_away_soon_after_the_erasure_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "PAUSE_SECONDS", 0.01)
    place = Scripted("database", Look([LEAK]), Look([LEAK]), Look())
    [record] = await look_until_gone([place], [], 0.0)
    assert record.leaks == []
    assert len(place.phases) == 3


async def test_what_stays_after_the_erasure_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(schedule, "PURGE_SECONDS", 0.1)
    place = Scripted("database", Look([LEAK]))
    [record] = await look_until_gone([place], [], 0.0)
    assert record.leaks == [LEAK]
    assert len(place.phases) > 1


async def test_what_was_found_before_is_not_waited_for() -> None:
    place = Scripted("log", Look([LEAK]))
    known = [Record(Phase.BEFORE, "log", 0.0, Look([LEAK]))]
    [record] = await look_until_gone([place], known, 0.0)
    assert record.leaks == [LEAK]
    assert len(place.phases) == 1


def result(*findings: tuple[Phase, str, Verdict]) -> Result:
    return Result([Record(phase, "a", 0.0, Look([Finding(what, "", 3, verdict)])) for phase, what, verdict in findings])


@pytest.mark.parametrize(
    ("findings", "copies", "failed", "strict"),
    [
        ([], 0, False, False),
        ([(Phase.BEFORE, "sent", Verdict.EXPECTED)], 0, False, False),
        ([(Phase.BEFORE, "sent", Verdict.LEAK)], 0, True, True),
        ([(Phase.ONE_SECOND, "sent", Verdict.COUNTED)], 0, False, False),
        ([(Phase.TEN_SECONDS, "sent", Verdict.COUNTED)], 3, False, True),
        ([(Phase.FORGOTTEN, "sent", Verdict.COUNTED)], 0, False, False),
        ([(Phase.FORGOTTEN, "name", Verdict.COUNTED)], 3, False, True),
    ],
)
def test_what_fails_the_audit(
    findings: Sequence[tuple[Phase, str, Verdict]], copies: int, failed: bool, strict: bool
) -> None:
    found = result(*findings)
    assert found.copies == copies
    assert found.failed(strict=False) is failed
    assert found.failed(strict=True) is strict
