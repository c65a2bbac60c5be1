"""Short runs of scripts that measure real servers: each reaches its end, and reports what it is asked for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import pytest

from tests.withstand.checks import ScriptCheck

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc"),
]


@pytest.mark.parametrize(
    ("module", "arguments", "figures"),
    [
        ("crowd", ["killed"], r"20 of 40 clients lost their server, all were served again, p99 .*, 0 missing, 0 twice"),
        ("crowd", ["terminated"], r"40 of 40 live clients got goodbye and 1001, 5 stalled, .*, 0 missing, 0 twice"),
        (
            "restarts",
            [],
            r"40 clients on 2 workers, .* (\d+) times one was closed, .* \1 times `missed` was 0; .* 0 twice",
        ),
        ("slowloris", [], r"quart: 60 clients, the last closed after [\d.]+ s, .*; trio_websocket: 60 clients, .*"),
        ("traces", [], r"of 100 expired messages in the memory of Redis: \d+ after 1 s; of 100 expired .*"),
    ],
    ids=["killed", "terminated", "restarts", "slowloris", "traces"],
)
def test_a_short_run_meets_its_bounds(module: str, arguments: Sequence[str], figures: str) -> None:
    outcome = ScriptCheck(f"tests.chaos.{module}", arguments).run(quick=True)
    assert re.match(figures, outcome.measured), outcome.measured
    assert outcome.passed is not False, "None where other work on the machine may have taken the time"
