"""World ID as a deployer runs it: a server process, a simulated World in another, a real Redis and database."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.running import Server
from tests.worldid.humans import Human, configuration
from tests.worldid.process import SimulatorProcess, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with running(tmp_path_factory.mktemp("world"), "--bind", "127.0.0.1:0") as simulated:
        yield simulated


@pytest.fixture
def healthy(world: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The same World, without what another test had go wrong in it."""
    yield world
    world.fail(None)


def rows(server: Server, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.database)) as database:
        return database.execute(sql).fetchall()


def test_one_human_from_sign_up_to_being_forgotten(serve: Callable[..., Server], healthy: SimulatorProcess) -> None:
    server = serve(*configuration(healthy))
    ada = Human(healthy, server, "Ada")
    status, account = ada.sign_up()
    assert status == 201
    assert account.keys() == {"token", "tokenExpiresAt", "userId", "displayName"}
    [(world_id,)] = rows(server, 'SELECT worldId FROM "User"')
    session, uniqueness = ada.results
    nullifier = int(uniqueness["responses"][0]["nullifier"], 16)
    assert world_id == f"{nullifier:064x}"
    code = ada.account_code()
    kept = ("worldid", account["userId"], session["session_id"], code)
    assert rows(server, 'SELECT provider, userId, value, accountCode FROM "Registration"') == [kept]

    status, room = server.ask("POST", "/api/v1/rooms", token=ada.token)
    assert status == 201
    assert room["createdBy"] == account["userId"]
    assert server.ask("DELETE", "/api/v1/session", token=ada.token)[0] == 204
    assert server.ask("GET", "/api/v1/me", token=ada.token)[0] == 401

    laptop = Human(healthy, server, "Ada")
    status, again = laptop.sign_in(code)
    assert (status, again["userId"], again["displayName"]) == (200, account["userId"], "Ada")
    assert server.ask("DELETE", "/api/v1/me", token=laptop.token)[0] == 204
    assert rows(server, 'SELECT worldId, displayName FROM "User"') == [(None, "")]
    for table in ("Registration", "SpentProof"):
        assert rows(server, f'SELECT * FROM "{table}"') == []
    status, new = Human(healthy, server, "Ada").sign_up()
    assert status == 201
    assert new["userId"] != account["userId"]


def test_a_challenge_serves_on_another_server_and_only_once(
    serve: Callable[..., Server], healthy: SimulatorProcess, tmp_path: Path
) -> None:
    one = serve(*configuration(healthy))
    shared = [f"redis.url=unix://{one.valkey()[1]}", f"plugins.sqlite.path={one.database}"]
    secret = (one.folder / "evanesce.secret").read_text().strip()
    two = serve(*configuration(healthy), *shared, f"server.secret={secret}")
    ada = Human(healthy, one, "Ada two")
    credential = ada.credential("sign_up", displayName="Ada")
    ada.server = two
    assert ada.send(credential)[0] == 201
    for server in (one, two):
        mallory = Human(healthy, server, "Mallory")
        status, error = mallory.send(credential)
        assert (status, error["code"], error["retry"]) == (401, "auth_failed", False)


def test_guests_and_world_id_together_or_one_alone(serve: Callable[..., Server], healthy: SimulatorProcess) -> None:
    both = serve(*configuration(healthy, "guest"))
    assert both.sign_in("A guest")["displayName"] == "A guest"
    assert Human(healthy, both, "Grace").sign_up()[0] == 201
    status, error = both.ask("POST", "/api/v1/session", {"provider": "nobody"})
    assert (status, error["message"]) == (400, "You can sign in with: guest, worldid.")
    alone = serve(*configuration(healthy))
    status, error = alone.ask("POST", "/api/v1/session", {"provider": "guest", "displayName": "A guest"})
    assert (status, error["code"]) == (400, "unknown_provider")
    assert Human(healthy, alone, "Grace").sign_up()[0] == 201


def test_a_portal_that_is_down_stops_nobody_who_is_in(serve: Callable[..., Server], healthy: SimulatorProcess) -> None:
    server = serve(*configuration(healthy, timeout="4"))
    assert server.ready()["parts"]["worldid"] == "up"
    ada = Human(healthy, server, "Ada down")
    ada.sign_up()
    bob = Human(healthy, server, "Bob down")
    credential = bob.credential("sign_up", displayName="Bob")
    for fault in ("down", "slow", "html", "error"):
        healthy.fail(fault)
        status, error = bob.send(credential)
        assert (status, error["code"], error["retry"]) == (503, "auth_unavailable", True)
        assert server.ask("POST", "/api/v1/rooms", token=ada.token)[0] == 201
    healthy.fail(None)
    assert bob.send(credential)[0] == 201, "the same proof, as the error said"


def test_nothing_of_a_proof_or_a_key_is_in_the_log(serve: Callable[..., Server], healthy: SimulatorProcess) -> None:
    server = serve(*configuration(healthy, timeout="4"))
    ada = Human(healthy, server, "Ada log")
    user_id = ada.sign_up()[1]["userId"]
    code = ada.account_code()
    other = Human(healthy, server, "Ada log")
    assert other.sign_in(code)[0] == 200
    spoilt = other.credential("sign_in", accountCode=code)
    spoilt["result"]["responses"][0]["proof"][0] = "5" * 70
    assert other.send(spoilt)[0] == 401
    for wrong in (code[:-1], code + "0", [code]):
        asked = {"provider": "worldid", "purpose": "sign_in", "accountCode": wrong}
        status, refused = server.ask("POST", "/api/v1/challenge", asked)
        assert (status, code[:-1] in str(refused)) == (400, False), "what was given is not repeated"
    credential = ada.credential("sign_up", displayName="Ada")
    for fault in ("slow", "html", "error", "refuse"):
        healthy.fail(fault)
        ada.send(credential)
    status, metrics = server.ask("GET", "/metrics")
    assert (status, code in str(metrics), "evanesce" in str(metrics)) == (200, False, True)
    server.stop()
    text = server.errors
    assert "World's portal" in text
    secrets = {healthy.settings["signing_key"], user_id, str(ada.token), code, code[:-1]}
    for result in (*ada.results, *other.results):
        secrets |= {result["nonce"], result.get("session_id", result["nonce"])}
        for item in result["responses"]:
            secrets |= {*item["proof"], item["signal_hash"], *item.get("session_nullifier", [item.get("nullifier")])}
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in text] == []


# evanesce check


def check(world: SimulatorProcess, folder: Path, **changes: str) -> tuple[int, str]:
    settings = [word for setting in configuration(world, **changes) for word in ("--set", setting)]
    command = [sys.executable, "-m", "evanesce", "check", *settings, "--set", "plugins.quart.bind=127.0.0.1:0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stdout.splitlines() if "sign-in worldid" in line]
    return done.returncode, "\n".join(lines) or done.stderr.splitlines()[-1]


def test_check_shows_the_signers_address(healthy: SimulatorProcess, tmp_path: Path) -> None:
    code, line = check(healthy, tmp_path)
    assert code == 0
    assert " | ok   " in line
    assert "0xe239cdc5fbe977a8a141b72194d3cf8c41bc5bc6" in line


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"rp_id": "rp_00000000000000aa"}, 1, "does not know rp_00000000000000aa: correct plugins.worldid.rp_id"),
        ({"api_url": "http://127.0.0.1:1"}, 1, "it cannot be connected to. Correct plugins.worldid.api_url"),
        ({"signing_key": "00" * 32}, 2, "plugins.worldid.signing_key: this number is no key"),
        ({"signing_key": "secret"}, 2, "plugins.worldid.signing_key: expected 64 hexadecimal digits"),
        ({"api_url": "http://portal.example"}, 2, "plugins.worldid.api_url: "),
        ({"environment": "sandbox"}, 2, "expected one of production, staging"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_check_explains_what_is_wrong(
    changes: dict[str, str], code: int, words: str, healthy: SimulatorProcess, tmp_path: Path
) -> None:
    found, line = check(healthy, tmp_path, **changes)
    assert (found, words in line) == (code, True), line
    assert "secret" not in line


def test_check_finds_a_clock_that_is_off(healthy: SimulatorProcess, tmp_path: Path) -> None:
    healthy.fail(None, skew=-120)
    code, line = check(healthy, tmp_path)
    assert code == 1
    assert "s ahead: set it" in line
    healthy.fail("slow")
    code, line = check(healthy, tmp_path, timeout="0.5")
    assert (code, "it gave no answer within 0.5 s" in line) == (1, True)
