"""Some runs of the protocol's state machine, and that it finds what is broken. `python -m tests.fuzz` makes many."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from evanesce.model import Timestamp
from evanesce.rooms.admissions import Admissions
from evanesce.rooms.joining import Joining
from evanesce.rooms.leaving import Leaving
from evanesce.rooms.membership import Membership
from evanesce.rooms.messages import Messages
from evanesce.rooms.policy import RoomPolicy
from evanesce.store.message_log import History, Stored
from evanesce.store.rules import RoomRules
from tests.fuzz.__main__ import fuzz

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.fuzz"

SEED = 20261130
"""The seed of these runs: a test has to give the same result each time. The command draws another one."""

FIRST = 2
"""A seed with which each of the faults below is found early."""


def test_no_promise_is_broken() -> None:
    fuzz(SEED, runs=100, steps=20)


def test_the_command_of_the_page() -> None:
    assert f"```sh\n{COMMAND}\n" in (ROOT / "docs/explanation/resilience.md").read_text()
    command = [sys.executable, *COMMAND.split()[1:], "--runs", "3", "--steps", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no promise was broken" in done.stdout


def drop_the_third(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = Membership.deliver

    def broken(self: Membership, entries: Sequence[Any], reply: Any) -> Any:
        return deliver(self, [entry for entry in entries if entry.number % 3], reply)

    monkeypatch.setattr(Membership, "deliver", broken)


def acknowledge_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Timestamp("2026-01-01T00:00:00.000Z")

    def broken(self: Messages, requests: Sequence[Any], error: Any) -> None:
        for request in requests:
            request.subscriber.answer([self._settle(request, Stored(now, now, duplicate=False))])

    monkeypatch.setattr(Messages, "_refuse_all", broken)


def miscount_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    history = Joining._history

    async def broken(self: Joining, since: str | None, most: int) -> Any:
        page = await history(self, since, most)
        return replace(page, missed=page.missed - 1) if isinstance(page, History) and page.missed else page

    monkeypatch.setattr(Joining, "_history", broken)


def keep_who_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leaving, "_remove", lambda *_: None)


def hide_new_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RoomPolicy, rules: RoomRules, *, confirmed: bool = False) -> None:
        self.rules = rules

    monkeypatch.setattr(RoomPolicy, "replace", broken)


def let_the_muted_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoomPolicy, "refusal_of", lambda *_: None)


def hide_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoomPolicy, "vote", lambda *_: None)


def admit_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Admissions, room_id: str, user_id: str, secret: str | None) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Admissions, "admit", broken)


FAULTS = [
    drop_the_third,
    acknowledge_what_was_refused,
    miscount_what_was_missed,
    keep_who_is_removed,
    hide_new_rules,
    let_the_muted_type,
    hide_votes,
    admit_everybody,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError) as found:
        fuzz(FIRST, runs=300, steps=20, shortens=False)
    with pytest.raises(AssertionError) as again:
        fuzz(FIRST, runs=300, steps=20, shortens=False)
    assert str(again.value) == str(found.value)
