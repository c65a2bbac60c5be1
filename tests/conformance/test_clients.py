"""Clients that follow the protocol succeed in all transcripts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from evanesce.conformance.outcome import Outcome, lines
from evanesce.conformance.player import play_all
from evanesce.conformance.transcript import shipped
from tests.docs.test_javascript import PAGE, missing

pytestmark = pytest.mark.slow

JOBS = 6
CLIENTS = {
    "reference": [sys.executable, str(Path(__file__).with_name("reference_client.py"))],
    "python": [sys.executable, "-m", "evanesce.client.driver"],
    "javascript": [
        "node",
        "--experimental-websocket",
        str(PAGE / "client/driver.js"),
    ],  # Node 20 has WebSocket behind the option
}


@pytest.mark.parametrize("client", sorted(CLIENTS))
async def test_a_client_succeeds_in_all_transcripts(client: str) -> None:
    if shutil.which(CLIENTS[client][0]) is None:
        missing("there is no Node on this machine")
    told: list[Outcome] = []
    outcomes = await play_all(list(shipped().values()), CLIENTS[client], JOBS, told.append)
    assert {outcome.name for outcome in outcomes} == set(shipped())
    assert sorted(told, key=lambda outcome: outcome.name) == outcomes
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    assert not failed, "\n".join(line for outcome in failed for line in lines(outcome))
