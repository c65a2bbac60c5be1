"""The memory of a process is read, and copies in it are counted."""

from __future__ import annotations

import pytest

from evanesce.audit.canaries import ENCODINGS, Canaries, Kind
from evanesce.audit.memory import ProcessMemory
from evanesce.audit.places import CouldNotLook, Phase, Verdict
from tests.core.audit.programs import HOLDS, program


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_copy_is_found_in_each_encoding(encoding: str) -> None:
    canaries = Canaries()
    with program(HOLDS, encoding, told=canaries.text(Kind.UNSENT)) as process:
        look = ProcessMemory(canaries, process).look(Phase.TEN_SECONDS)
    [finding] = look.findings
    assert (finding.what, finding.verdict) == ("unsent", Verdict.COUNTED)
    assert finding.count >= 1
    assert look.unseen == ()


def test_a_process_that_never_had_one_is_clean() -> None:
    canaries = Canaries()
    with program(HOLDS, told="something else") as process:
        look = ProcessMemory(canaries, process).look(Phase.TEN_SECONDS)
    assert look.findings == []
    assert look.note.endswith(" MB")


@pytest.mark.parametrize(
    ("kind", "phase", "verdict"),
    [
        (Kind.SENT, Phase.BEFORE, Verdict.EXPECTED),
        (Kind.SENT, Phase.HALF_SECOND, Verdict.COUNTED),
        (Kind.REJECTED, Phase.BEFORE, Verdict.COUNTED),
        (Kind.NAME, Phase.TEN_SECONDS, Verdict.EXPECTED),
        (Kind.NAME, Phase.FORGOTTEN, Verdict.COUNTED),
    ],
)
def test_what_is_in_use_may_be_there(kind: Kind, phase: Phase, verdict: Verdict) -> None:
    canaries = Canaries()
    with program(HOLDS, "utf-8", told=canaries.text(kind)) as process:
        [finding] = ProcessMemory(canaries, process).look(phase).findings
    assert finding.verdict is verdict


def test_a_process_that_has_ended_cannot_be_looked_at() -> None:
    with program(HOLDS) as process:
        pass
    with pytest.raises(CouldNotLook, match="the process has ended"):
        ProcessMemory(Canaries(), process).look(Phase.TEN_SECONDS)
