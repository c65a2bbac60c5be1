"""The stage `outages`: its judge knows a broken promise, and a short run of each outage breaks none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.chaos.outages import STAGES, Result, Stage
from tests.chaos.promises import RoomRecord, Verdict
from tests.e2e.clients import ChatClient
from tests.patience import Taken

pytestmark = pytest.mark.slow


class Recorded:
    """A member with a record that is made up: an event every second."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.record = [{"roomId": "here"} | event for event in events]
        self.received_at = [float(second) for second in range(len(events))]


def message(message_id: str, content: str = "hello") -> dict[str, Any]:
    return {"type": "message", "messageId": message_id, "content": content}


def joined(missed: int | None, *messages: dict[str, Any]) -> dict[str, Any]:
    return {"type": "joined", "missed": missed, "messages": messages}


GAP = {"type": "gap", "since": "cursor"}
ELSEWHERE = {"roomId": "elsewhere"}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([joined(0), message("a"), message("b")], Verdict(delivered=2)),
        ([joined(0), message("a"), joined(0, message("b"))], Verdict(delivered=2)),
        ([joined(0), message("a")], Verdict(delivered=1, untold=1)),
        ([joined(0), message("a"), GAP], Verdict(delivered=1, lost=1)),
        ([GAP, joined(0), message("a"), message("c")], Verdict(delivered=1, untold=1)),
        ([joined(0), message("a"), message("c"), joined(None)], Verdict(delivered=1, lost=1)),
        ([joined(0), message("a"), message("b"), joined(None, message("a"))], Verdict(delivered=2)),
        ([joined(0), message("a"), GAP, message("b"), message("a")], Verdict(delivered=2, doubled=1)),
        ([joined(0), message("a"), message("b"), joined(0, message("b"))], Verdict(delivered=2, doubled=1)),
        ([joined(0), message("a"), message("b", "changed")], Verdict(delivered=2, foreign=1)),
        ([joined(0), message("a"), message("b") | ELSEWHERE, GAP | ELSEWHERE], Verdict(delivered=1, untold=1)),
    ],
)
def test_what_is_missing_has_to_have_been_told_after_it_was_acknowledged(
    events: list[dict[str, Any]], expected: Verdict
) -> None:
    sent = {"a": "hello", "b": "hello", "c": "hello"}
    room = RoomRecord("here", [cast(ChatClient, Recorded(*events))], sent, {"a": 1.0, "b": 2.5})
    verdict = Verdict()
    room.judge(verdict)
    assert verdict == expected
    assert verdict.broken == expected.untold + expected.doubled + expected.foreign


TRIED = [stage for stage in STAGES if stage.outage in ("killed", "cluster")]  # Sentinel takes its time


@pytest.mark.parametrize("stage", TRIED, ids=lambda stage: stage.outage)
async def test_a_short_outage_breaks_no_promise(stage: Stage) -> None:
    taken = Taken()
    load = await stage.run(True)
    result = Result(stage, load, taken.seconds())
    assert result.judgement.problems == []
    assert len(load.served) == 1
    assert load.acknowledged > 100
    assert load.verdict.delivered > 0
    assert load.refused > 0
