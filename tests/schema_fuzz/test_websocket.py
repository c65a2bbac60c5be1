"""The fuzzer made from the schema against a real server, over both transports, and faults that it has to find."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import TRANSPORTS, Server
from tests.schema_fuzz.expectations import Finding
from tests.schema_fuzz.frames import Kind
from tests.schema_fuzz.websocket_run import SETTINGS, Tamper, WebSocketRun, check_log
from tests.schemas import DEFAULT_LIMITS, schema_of

pytestmark = pytest.mark.slow

SEED = 20261201
"""The seed of these runs: a test has to give the same result each time. The command draws another one."""

FRAMES = 3_000

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.schema_fuzz"

DOCUMENT = schema_of(DEFAULT_LIMITS)


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), *SETTINGS, transports=[request.param]) as server:
        yield server


async def test_every_answer_is_as_the_schema_says(server: Server) -> None:
    run = WebSocketRun(server.port, DOCUMENT, SEED)
    report = await run.play(FRAMES)
    assert sum(report.frames.values()) >= FRAMES
    assert min(report.frames[kind.value] for kind in Kind) > FRAMES / 100, report.frames
    carried_out = {command for command, answers in report.answers.items() if answers & set(run.replies.values())}
    never = set(run.replies) - carried_out
    assert never <= {"vote_remove"}, {command: report.answers.get(command) for command in never}
    check_log(server.errors, report.secrets)
    assert "canary" not in server.errors


def test_the_command_of_the_page() -> None:
    assert f"```sh\n{COMMAND}\n" in (ROOT / "docs/explanation/resilience.md").read_text()
    command = [sys.executable, *COMMAND.split()[1:], "--frames", "100", "--examples", "0", "--seed", str(SEED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--seed {SEED}" in done.stdout
    assert done.stdout.count("all answered as the schema says") == len(TRANSPORTS)


# Faults: what a proxy in front of the server would do to each of its frames.


def changed(change: Callable[[dict[str, Any]], object]) -> Tamper:
    """Return the fault that changes each event and reply."""

    def tamper(text: str) -> str:
        events = json.loads(text)
        for event in events:
            change(event)
        return json.dumps(events)

    return tamper


def forgets_a_field(event: dict[str, Any]) -> None:
    if event["type"] == "sent":
        del event["expiresAt"]


def adds_a_field(event: dict[str, Any]) -> None:
    if event["type"] == "message":
        event["address"] = "192.0.2.1"


def gives_another_ref(event: dict[str, Any]) -> None:
    if event["type"] == "pong" and isinstance(event.get("ref"), int):
        event["ref"] = str(event["ref"])


def has_an_error_of_another_command(event: dict[str, Any]) -> None:
    if event["type"] == "error" and event["code"] == "not_member":
        event["code"] = "room_full"


def says_that_it_may_be_tried_again(event: dict[str, Any]) -> None:
    if event["type"] == "error":
        event["retry"] = True


def accepts_what_is_no_command(event: dict[str, Any]) -> None:
    if event["type"] == "error" and event["code"] == "bad_request":
        event |= {"type": "ok"}
        for name in ("code", "message", "field", "retry"):
            event.pop(name, None)


def fails(event: dict[str, Any]) -> None:
    if event["type"] == "error" and event["code"] == "room_not_found":
        event |= {"code": "internal", "retry": True}


def refuses_what_is_valid(event: dict[str, Any]) -> None:
    if event["type"] == "members":
        event.clear()
        event |= {"type": "error", "code": "bad_request", "message": "No.", "field": "roomId", "retry": False}


def answers_for_another_room(event: dict[str, Any]) -> None:
    if event["type"] == "left":
        event["roomId"] = "00000000-0000-4000-8000-000000000000"


def takes_its_leave(event: dict[str, Any]) -> None:
    if event["type"] == "pong":
        event.clear()
        event |= {"type": "goodbye", "code": 1011, "reason": "A fault.", "reconnect": True}


def in_no_array(text: str) -> str:
    return json.dumps(json.loads(text)[0])


def swallowed(text: str) -> str | None:
    return None if '"type":"pong"' in text else text


FAULTS: list[tuple[str, Tamper]] = [
    ("sent differs from its schema", changed(forgets_a_field)),
    ("unknown fields", changed(adds_a_field)),
    ("pong with ref", changed(gives_another_ref)),
    ("is never refused with room_full", changed(has_an_error_of_another_command)),
    ("`retry` of", changed(says_that_it_may_be_tried_again)),
    ("what is no command was accepted", changed(accepts_what_is_no_command)),
    ("led to a fault in the server", changed(fails)),
    ("answers none of|was refused for its", changed(refuses_what_is_valid)),
    ("the roomId of left", changed(answers_for_another_room)),
    ("takes its leave with 1011", changed(takes_its_leave)),
    ("no array of events", in_no_array),
    ("no answer to", swallowed),
]


@pytest.mark.parametrize(("finding", "tamper"), FAULTS, ids=[finding for finding, _ in FAULTS])
async def test_a_fault_is_found(server: Server, finding: str, tamper: Tamper) -> None:
    run = WebSocketRun(server.port, DOCUMENT, SEED, tamper=tamper, answer_seconds=10)
    with pytest.raises(ExceptionGroup) as caught:
        await run.play(FRAMES)
    assert caught.group_contains(Finding, match=finding)


@pytest.mark.parametrize(
    "log",
    ["Traceback (most recent call last):", "2026-12-01T00:00:00.000Z ERROR evanesce.server a request failed", "kept"],
)
def test_a_log_with_a_fault_or_a_secret_is_found(log: str) -> None:
    with pytest.raises(Finding):
        check_log(f"2026-12-01T00:00:00.000Z INFO evanesce.server begins\n{log}\n", {"kept"})
    check_log("2026-12-01T00:00:00.000Z INFO evanesce.server begins\n", {"kept"})
