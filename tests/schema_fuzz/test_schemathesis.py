"""Schemathesis with all of its checks against a real server, and faults that it has to find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.e2e.running import Server
from tests.schema_fuzz import schemathesis_run
from tests.schema_fuzz.faulty_proxy import Answer, Fault, Request, Send, at, faulty, with_header, with_status

pytestmark = pytest.mark.slow

SEED = 20261201
"""The seed of these runs: a test has to give the same result each time. The command draws another one."""

ME = "/api/v1/me"


@pytest.fixture(scope="module")
def program(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return schemathesis_run.fetch_for_tests(pytestconfig.cache.mkdir("schemathesis"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), *schemathesis_run.SETTINGS) as server:
        yield server
    assert "Traceback" not in server.errors


def test_the_server_does_as_its_description_says(program: Path, server: Server, tmp_path: Path) -> None:
    code, report = schemathesis_run.run(program, server.url, tmp_path, seed=SEED, examples=25)
    assert code == 0, report
    tested, total = re.findall(r"Selected: (\d+)/(\d+)\n", report)[0]
    assert tested == total, report
    assert f"Tested: {total}\n" in report, report
    assert "Authentication failed" not in report, report


def without_field(answer: Answer) -> Answer:
    fields = msgspec.json.decode(answer.body)
    fields.pop("createdAt", None)
    return replace(answer, body=msgspec.json.encode(fields))


def accepts_anything(request: Request, send: Send) -> Answer:
    """Answer an invalid change of the profile as a change of nothing."""
    answer = send(request)
    refused = request.method == "PATCH" and request.target == ME and answer.status == 400
    return send(replace(request, body=b"{}")) if refused else answer


def needs_no_token(server: Server) -> Fault:
    token = server.sign_in("Anybody")["token"]

    def fault(request: Request, send: Send) -> Answer:
        answer = send(request)
        if request.target != ME or answer.status != 401:
            return answer
        kept = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        return send(replace(request, headers={**kept, "Authorization": f"Bearer {token}"}))

    return fault


def takes_any_method(request: Request, send: Send) -> Answer:
    answer = send(request)
    return send(replace(request, method="GET", body=b"")) if answer.status == 405 else answer


FAULTS: list[tuple[str, str, str, Fault | None]] = [
    ("Undocumented status code", "ST103", "profile", at(ME, with_status(418))),
    ("Server error", "ST101", "profile", at(ME, with_status(500))),
    ("Response violates schema", "ST108", "profile", at(ME, without_field)),
    ("Undocumented Content-Type", "ST105", "profile", at(ME, with_header("content-type", "text/csv"), "GET")),
    ("Schema-violating request accepted", "ST201", "update_profile", accepts_anything),
    ("Authentication not enforced", "ST401", "profile", None),
    ("Unsupported method", "ST204", "profile", takes_any_method),
]


@pytest.mark.parametrize(("rule", "operation", "fault"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found(
    program: Path, server: Server, tmp_path: Path, rule: str, operation: str, fault: Fault | None
) -> None:
    with faulty(server.port, fault or needs_no_token(server)) as url:
        code, report = schemathesis_run.run(program, url, tmp_path, seed=SEED, examples=10, operation=operation)
    assert code == 1, report
    assert f"- {rule} " in report, report  # The titles of one rule differ from case to case.


def test_what_is_fetched_is_pinned() -> None:
    lines = schemathesis_run.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert any(pin.startswith("schemathesis==") for pin in pins)
    assert all(pin.count("==") == 1 and "/" not in pin for pin in pins)
