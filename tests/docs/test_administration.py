"""The commands of the guide for operators, run one after the other against a real server over its Unix socket."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evanesce.admin.operations import OPERATIONS
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "administer-a-server.md").read_text()
EVANESCE = Path(sys.executable).with_name("evanesce")
SECONDS = 60
TOKEN = "operators-of-the-guide-0123456789"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Deployment:
    """A server with the configuration of the guide, and a guest with a room."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self._base = base
        self.environment = os.environ | {"EVANESCE_ADMIN_TOKEN": TOKEN}

    def request(self, path: str, body: dict[str, str] | None, token: str = "") -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        data = json.dumps(body or {}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self._base}{path}", data, headers)) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def run(self, command: str, *, code: int = 0, printed: bool = False, **environment: str) -> str:
        """Run a command of `evanesce`, and return its output, or for another `code` its errors unless `printed`."""
        done = subprocess.run(
            [EVANESCE, *shlex.split(command)[1:]],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stderr if code and not printed else done.stdout


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("operators")
    [settings] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "config.toml").write_text(f"{(ROOT / 'config.toml').read_text()}\n{settings}")
    base = f"http://127.0.0.1:{free_port()}"
    deployment = Deployment(folder, base)
    server = subprocess.Popen(
        [EVANESCE, "serve", "--set", f"plugins.quart.bind={base.removeprefix('http://')}"],
        cwd=folder,
        env=deployment.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on {base}\n"
        yield deployment
        server.terminate()
        assert server.wait(SECONDS) == 0
    finally:
        server.kill()
        server.communicate()


def shown() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_the_commands_that_look(deployment: Deployment) -> None:
    assert len(shown()) == 6
    for command in shown():
        output = deployment.run(command)
        if "--json" in command:
            assert json.loads(output) == {"users": []}
        elif "stats" in command or "top" in command:
            assert "serving" in output
            assert "redis: up" in output
        else:
            assert output.startswith("no ")


def test_the_view_that_follows_draws_on_the_screen_of_a_terminal(deployment: Deployment) -> None:
    outside, inside = pty.openpty()
    command = [EVANESCE, "top", "--count", "2", "--interval", "0.5"]
    environment = deployment.environment | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(command, cwd=deployment.folder, env=environment, stdout=inside) as top:
        os.close(inside)
        drawn = b""
        with suppress(OSError):  # on Linux the end of a terminal is an error
            while part := os.read(outside, 65_536):
                drawn += part
        assert top.wait(SECONDS) == 0
    os.close(outside)
    assert (drawn.count(b"\x1b[?1049h"), drawn.count(b"\x1b[?1049l")) == (1, 1), "the other screen is back at the end"
    assert drawn.count(b"answered by ") >= 2
    assert b"redis: up" in drawn


def test_every_command_prints_json(deployment: Deployment) -> None:
    person = deployment.request("/api/v1/session", {"provider": "guest", "displayName": "Ben"})
    room, user = deployment.request("/api/v1/rooms", None, person["token"])["roomId"], person["userId"]
    answers = {
        command: json.loads(deployment.run(f"evanesce admin {command} --json"))
        for command in (
            *("stats", "rooms --all", f"room {room}", "users --all", f"user {user}", "bans"),
            *(f"disconnect {user}", f"ban {user} --seconds 60 --reason x", f"unban {user}"),
            *(f"announce Hello --url unix:{deployment.folder / 'admin.sock'}", f"close {room}"),
        )
    }
    assert {command.split()[0] for command in answers} | {"drain"} == {operation.name for operation in OPERATIONS}
    assert answers[f"room {room}"]["room"]["roomId"] == room
    assert answers[f"user {user}"]["user"]["displayName"] == "Ben"
    ban = answers[f"ban {user} --seconds 60 --reason x"]
    assert (ban["userId"], ban["reason"]) == (user, "x")
    assert datetime.fromisoformat(ban["until"]) - datetime.fromisoformat(ban["since"]) == timedelta(seconds=60)
    assert answers[f"unban {user}"] == answers[f"close {room}"] == {"changed": True}
    refused = json.loads(deployment.run(f"evanesce admin close {room} --json", code=1, printed=True))
    assert refused["code"] == "room_not_found"


def test_the_commands_that_act(deployment: Deployment) -> None:
    acts = re.findall(r"^\| `(evanesce admin [^`]+)` \|", PAGE, re.MULTILINE)
    assert [command.split()[2] for command in acts] == ["close", "disconnect", "ban", "unban", "announce", "drain"]
    person = deployment.request("/api/v1/session", {"provider": "guest", "displayName": "Ada [red]"})
    room = deployment.request("/api/v1/rooms", None, person["token"])
    users = deployment.run("evanesce admin users --all")
    assert person["userId"] in users
    assert "Ada [red]" in users
    stats = json.loads(deployment.run("evanesce admin stats --json"))
    values = {"ROOM": room["roomId"], "USER": person["userId"], "TEXT": "'Hello all'", "NAME": stats["answeredBy"]}
    said: dict[str, str] = {}
    for act in acts:
        command = re.sub(r"\b[A-Z]{4}\b", lambda found: values[found[0]], act)
        said[act.split()[2]] = deployment.run(command)
        if " ban " in command:
            shown = deployment.run(f"evanesce admin user {person['userId']}")
            assert "banned:" in shown
            assert "without an end" in deployment.run("evanesce admin bans")
    assert said["close"] == "the room is closed, and its messages are erased\n"
    assert said["disconnect"] == "the user had no connection\n"
    assert said["ban"].startswith("banned without an end, ban ")
    assert said["unban"] == "the ban has ended\n"
    assert said["announce"] == "sent to 0 rooms\n"
    assert said["drain"] == f"leaves service: {stats['answeredBy']}\n"
    assert "draining" in deployment.run("evanesce admin stats")
    drained = json.loads(deployment.run("evanesce admin drain --all --json"))
    assert drained == {"servers": list(stats["servers"])}


@pytest.mark.parametrize(
    ("command", "code", "problem"),
    [
        (f"evanesce admin close {UNKNOWN}", 1, "evanesce admin close: There is no such room"),
        ("evanesce admin room nothing", 1, "evanesce admin room: "),
        (f"evanesce admin user {UNKNOWN}", 1, "There is no such user"),
        ("evanesce admin ban x:y --seconds 0", 1, "evanesce admin ban: "),
        ("evanesce admin drain", 2, "--server --all is required"),
        ("evanesce admin drain --server another", 1, "There is no server of this name"),
        ("evanesce admin nothing", 2, "evanesce: "),
        ("evanesce admin stats --url ftp://x", 2, "--url: is not an address"),
        ("evanesce admin stats --url unix:missing.sock", 1, "cannot reach the server at unix:missing.sock"),
        ("evanesce admin stats --set admin.bind=unix:missing.sock", 1, "No such file"),
        ("evanesce top --count 1 --url http://127.0.0.1:1", 1, "cannot reach the server"),
        ("evanesce top --interval 0", 2, "from 0.5 to 3600"),
    ],
)
def test_what_went_wrong_is_said_on_one_line(deployment: Deployment, command: str, code: int, problem: str) -> None:
    said = deployment.run(command, code=code)
    assert problem in said
    assert said.count("\n") == 1
    assert TOKEN not in said


def test_a_wrong_token_and_none(deployment: Deployment) -> None:
    command = "evanesce admin stats --url unix:admin.sock"
    assert deployment.run(command).startswith("server")
    assert "needs the token" in deployment.run(command, code=1, EVANESCE_ADMIN_TOKEN="x" * 32)
    for token in ("", "two words", "line\nend"):
        said = deployment.run(command, code=2, EVANESCE_ADMIN_TOKEN=token)
        assert said.startswith("evanesce: EVANESCE_ADMIN_TOKEN: is not ")
