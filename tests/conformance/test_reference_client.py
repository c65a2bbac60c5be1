"""A client that follows the protocol succeeds in every transcript."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evanesce.conformance.outcome import lines
from evanesce.conformance.player import play
from evanesce.conformance.transcript import shipped

REFERENCE = Path(__file__).with_name("reference_client.py")
TRANSCRIPTS = shipped()


@pytest.mark.parametrize("name", sorted(TRANSCRIPTS))
async def test_the_reference_client(name: str) -> None:
    outcome = await play(TRANSCRIPTS[name], [sys.executable, str(REFERENCE)])
    assert outcome.failure is None, "\n".join(lines(outcome))
