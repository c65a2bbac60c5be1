"""The tutorials work as they are written: their commands and their code, step by step."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHAT_PAGE = (ROOT / "docs/tutorial/first-chat.md").read_text("utf-8")
PLUGIN_PAGE = (ROOT / "docs/tutorial/first-plugin.md").read_text("utf-8")
EVANESCE = str(Path(sys.executable).with_name("evanesce"))
TTL = 2.0
PATIENCE = 120.0
"""Seconds after which a process is killed, so that a test which waits for its output fails."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str, start: str) -> list[list[str]]:
    return [shlex.split(block) for block in blocks(page, "sh") if block.startswith(start)]


@contextmanager
def running(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [EVANESCE, *words[1:]],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | environment,
    )
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.terminate()
        process.communicate(timeout=PATIENCE)


@contextmanager
def serving(folder: Path, *words: str, **environment: str) -> Iterator[str]:
    """Start a server as a page does, on a port of its own, and give its URL."""
    bind = f"127.0.0.1:{free_port()}"
    options = ("--set", f"plugins.quart.bind={bind}", "--set", f"messages.ttl={TTL}")
    with running(folder, *words, *options, **environment) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on http://{bind}\n"
        yield f"http://{bind}"


def open_room(url: str) -> str:
    """Open a room as the page does, and return its link."""

    def post(path: str, body: dict[str, str], token: str = "") -> dict[str, str]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"{url}/api/v1/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            parsed: dict[str, str] = json.load(answer)
            return parsed

    token = post("session", {"provider": "guest", "displayName": "Opener"})["token"]
    return post("rooms", {}, token)["deepLink"]


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def wait_for(stream: IO[str] | None, text: str) -> list[str]:
    """Return the lines up to the one that contains `text`."""
    assert stream is not None
    lines: list[str] = []
    for line in stream:
        lines.append(line.strip())
        if text in line:
            return lines
    raise AssertionError(f"{text!r} is not among {lines}")


def test_the_first_chat(tmp_path: Path) -> None:
    [serve] = commands(CHAT_PAGE, "evanesce serve")
    assert "`* Bob joined`" in CHAT_PAGE
    with ExitStack() as stack:
        link = open_room(stack.enter_context(serving(tmp_path, *serve)))

        def join(words: list[str]) -> subprocess.Popen[str]:
            assert words[2] == "http://127.0.0.1:8000/r/ROOMID"
            chat = stack.enter_context(running(tmp_path, *words[:2], link, *words[3:]))
            wait_for(chat.stdout, "* you are in the room")
            return chat

        ada_words, bob_words, late_words = commands(CHAT_PAGE, "evanesce chat")
        ada = join(ada_words)
        bob = join(bob_words)
        wait_for(ada.stdout, "* Bob joined")
        say(ada, "Hello, Bob")
        wait_for(bob.stdout, "Ada: Hello, Bob")
        time.sleep(TTL + 0.5)
        late = join(late_words)
        say(ada, "only this")
        assert "Ada: Hello, Bob" not in wait_for(late.stdout, "Ada: only this")
    remaining = {file.name for file in tmp_path.iterdir()}
    assert remaining == {"evanesce.db", "evanesce.db.lock", "evanesce.secret"}
    assert all(f"`{name}`" in CHAT_PAGE for name in remaining)


def test_the_installation_is_that_of_the_readme() -> None:
    [command] = re.findall(r"^    (python3 -m venv .*)$", CHAT_PAGE, re.MULTILINE)
    assert f"{command} && .venv/bin/evanesce serve" in (ROOT / "README.md").read_text()


def test_the_buttons_that_the_first_chat_names_are_on_the_page() -> None:
    static = [ROOT / "transports/evanesce_transports/quart/static/locales/en.js"]
    static += (ROOT / "plugins/evanesce_plugins/guest/static").glob("*.js")
    sources = "".join(file.read_text("utf-8") for file in static)
    buttons = re.findall(r" \*([^*\n]+)\*", CHAT_PAGE)
    assert len(buttons) == 2
    for button in buttons:
        assert f'"{button}"' in sources, button


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the package of the tutorial, and install it into a folder."""
    work, folder = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("site")
    [words] = commands(PLUGIN_PAGE, "evanesce new-plugin")
    subprocess.run([EVANESCE, *words[1:]], cwd=work, capture_output=True, timeout=PATIENCE, check=True)
    [package] = work.iterdir()
    [point] = blocks(PLUGIN_PAGE, "toml")
    assert point in (package / "pyproject.toml").read_text()
    assert f"`{package.name}`" in PLUGIN_PAGE
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*pip, str(package)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


STEPS = [
    ("Here is mud", "Please say it in other words."),
    ("HELLO", "Please do not shout."),
    ("Here is mud", "This room is kept tidy"),
    ("mud", "This room is kept tidy"),
]


@pytest.mark.parametrize("step", range(4))
def test_a_step_of_the_first_plugin(tmp_path: Path, site: Path, step: int) -> None:
    if step > 0:  # the first server runs what was written
        for file in ("settings.py", "words.py"):
            (site / "evanesce_tidy" / file).unlink(missing_ok=True)
        (site / "evanesce_tidy" / "__init__.py").write_text(blocks(PLUGIN_PAGE, "python")[step - 1])
    refused, reason = STEPS[step]
    words = commands(PLUGIN_PAGE, "evanesce serve")[step]
    with serving(tmp_path, *words, PYTHONPATH=str(site)) as url:
        link = open_room(url)
        with running(tmp_path, EVANESCE, "chat", link, "--name", "Ada") as ada:
            say(ada, refused)
            wait_for(ada.stdout, f"* not sent: {reason}")
            if step == 3:
                with urllib.request.urlopen(f"{url}/tidy", timeout=PATIENCE) as answer:
                    assert f"`{answer.read().decode()}`" in PLUGIN_PAGE


def test_the_plugin_of_the_tutorial_is_listed(tmp_path: Path, site: Path) -> None:
    [words] = commands(PLUGIN_PAGE, "evanesce plugins")
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [EVANESCE, *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    assert "tidy" in done.stdout
