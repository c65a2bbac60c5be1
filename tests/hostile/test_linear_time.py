"""Every parser of untrusted input takes linear time, and does not block the event loop for long."""

from __future__ import annotations

import math

import pytest

from tests.hostile import costs
from tests.hostile.calls import PARSERS, Parser
from tests.hostile.wires import WAITING

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def without_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read floods of fragments and pings as fast as they come: the pace of reading is not the parser's time."""
    monkeypatch.setattr("evanesce_transports.limits.FRAMES_PER_SECOND", math.inf)


def slow_shapes(parser: Parser) -> dict[str, str]:
    """Return what is wrong with the shapes at which a parser is slow."""
    problems = {
        name: costs.problem(costs.by_size(parser.measure, shape, parser.most)) for name, shape in parser.shapes.items()
    }
    return {name: problem for name, problem in problems.items() if problem is not None}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_parsers_that_are_called(parser: Parser) -> None:
    assert slow_shapes(parser) == {}


@pytest.mark.parametrize("parser", WAITING, ids=lambda parser: parser.name)
def test_parsers_that_wait(parser: Parser) -> None:
    assert slow_shapes(parser) == {}
