"""A bound that was not met is told apart from one of which a busy machine leaves nothing to say."""

from __future__ import annotations

import pytest

from tests.chaos.report import Judgement, conclude
from tests.withstand.checks import NOT_RUN


@pytest.mark.parametrize(
    ("seconds", "late", "code", "told"),
    [
        (2.0, 0.0, 0, "figures"),
        (2.0, 9.0, 0, "figures"),
        (2.1, 0.0, 1, "figures; the exit: 2.1 s"),
        (8.0, 5.0, 1, "figures; the exit: 8.0 s"),
        (8.0, 6.5, NOT_RUN, "figures; the exit: 8.0 s, while other work took up to 6.5 s"),
    ],
)
def test_a_time_is_judged(
    seconds: float, late: float, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judgement = Judgement()
    judgement.bound("the exit", seconds, 2.0, late)
    assert conclude(["figures"], judgement) == code
    assert capsys.readouterr().out == f"{told}\n"


def test_a_problem_counts_more_than_a_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    judgement = Judgement(doubts=["slow"])
    judgement.add(Judgement(problems=["lost"]))
    assert conclude([], judgement) == 1
    assert capsys.readouterr().out == "lost; slow\n"
