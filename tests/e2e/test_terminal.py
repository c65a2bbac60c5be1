"""`evanesce chat LINK` as a process: its exit codes, what it prints, and how it comes back."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import conversation
from tests.e2e.running import Server
from tests.e2e.terminals import Terminal
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "clients.md"
ROOM = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "link",
    [
        "nonsense",
        "http://127.0.0.1:8000/",
        "http://127.0.0.1:8000/r/nonsense",
        f"ftp://127.0.0.1/r/{ROOM}",
        f"http:///r/{ROOM}",
        f"http://127.0.0.1:99999/r/{ROOM}",
        f"127.0.0.1:8000/r/{ROOM}",
    ],
)
def test_a_bad_link(link: str) -> None:
    with Terminal(link, "Ana") as ana:
        code, errors = ana.ends()
    assert code == 2
    assert errors.startswith("evanesce chat: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("link", "options", "problem"),
    [
        (f"http://127.0.0.1:8000/r/{ROOM}#k=half", (), "the key in this link (#k=) is not whole"),
        (f"http://127.0.0.1:8000/r/{ROOM}", ("--encrypted",), "--encrypted is for a new room: it needs --new"),
        (f"http://127.0.0.1:8000/r/{ROOM}", ("--ttl", "5"), "--ttl is for a new room: it needs --new"),
        (f"http://127.0.0.1:8000/r/{ROOM}", ("--invite-only",), "--invite-only is for a new room: it needs --new"),
        ("127.0.0.1:8000", ("--new",), "an address must have the form http://HOST:PORT"),
        ("http://127.0.0.1:8000", ("--new", "--ttl", "nan"), "argument --ttl: expected a number of seconds above 0"),
        ("http://127.0.0.1:8000", ("--new", "--ttl", "0"), "argument --ttl: expected a number of seconds above 0"),
        ("http://127.0.0.1:8000", ("--new", "--ttl", "soon"), "argument --ttl: expected a number of seconds above 0"),
    ],
)
def test_wrong_options(link: str, options: tuple[str, ...], problem: str) -> None:
    with Terminal(link, "Ana", *options) as ana:
        code, errors = ana.ends()
    assert code == 2
    assert problem in errors
    assert errors.count("\n") == 1


def test_nobody_there_to_create_a_room() -> None:
    with Terminal(f"http://127.0.0.1:{free_port()}", "Ana", "--new") as ana:
        code, errors = ana.ends()
    assert code == 1
    assert errors.startswith("evanesce chat: cannot reach 127.0.0.1:")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [("Ana", ("--ttl", "1e9"), "seconds"), ("x" * 65, (), "64")],
)
def test_a_room_that_is_refused(shared_server: Server, name: str, options: tuple[str, ...], problem: str) -> None:
    with Terminal(shared_server.url, name, "--new", *options) as ana:
        code, errors = ana.ends()
    assert code == 1
    assert problem in errors
    assert errors.count("\n") == 1


def test_a_link_from_the_input(shared_server: Server) -> None:
    link = shared_server.open_room()["deepLink"]
    with Terminal("-", "Ana") as ana, Terminal("-", "Ben") as ben:
        for one in (ana, ben):
            one.type(link)
            one.type(f"hello from {one.process.pid}")
        for one in (ana, ben):
            ana.sees(f"hello from {one.process.pid}")
        ana.type("/quit")
        assert ana.ends() == (0, "")
    with Terminal("-", "Ana") as ana:
        ana.hang_up()
        code, errors = ana.ends()
    assert code == 2
    assert errors.startswith("evanesce chat: a link must have the form")


def test_nobody_there() -> None:
    with Terminal(f"http://127.0.0.1:{free_port()}/r/{ROOM}", "Ana") as ana:
        code, errors = ana.ends()
    assert code == 1
    assert errors.startswith("evanesce chat: cannot reach 127.0.0.1:")
    assert errors.endswith(": Connection refused\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("room_id", "name", "problem"), [(ROOM, "Ana", "room"), (None, "x" * 65, "64"), (None, "a\x1bb", "")]
)
def test_refused(shared_server: Server, room_id: str | None, name: str, problem: str) -> None:
    room_id = room_id or shared_server.open_room()["roomId"]
    with Terminal(f"{shared_server.url}/r/{room_id}", name) as ana:
        ana.hang_up()
        code, errors = ana.ends()
    assert code == 1
    assert problem in errors
    assert errors.count("\n") == 1


def test_something_that_is_no_evanesce(tmp_path: object) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=str(tmp_path),
    ) as other:
        assert other.stdout is not None
        port = other.stdout.readline().split(b" port ")[1].split()[0].decode()
        with Terminal(f"http://127.0.0.1:{port}/r/{ROOM}", "Ana") as ana:
            code, errors = ana.ends()
        other.terminate()
    assert (code, errors) == (
        1,
        f"evanesce chat: cannot reach 127.0.0.1:{port}: it answers with HTTP status 404\n",
    )


def test_an_input_that_ends_is_sent_first(shared_server: Server) -> None:
    link = shared_server.open_room()["deepLink"]
    texts = conversation()[:15]
    with Terminal(link, "Ana") as ana:
        for text in texts:
            ana.type(text)
        ana.hang_up()
        assert ana.ends() == (0, "")
    with Terminal(link, "Ben") as ben:
        for text in texts:
            assert ben.sees(f"Ana: {text}") == f"Ana: {text}"
        ben.interrupt()
        assert ben.ends() == (0, "")


def test_what_a_terminal_would_obey_is_shown_instead(server: Server) -> None:
    link = server.open_room()["deepLink"]
    with Terminal(link, "Ana") as ana, Terminal(link, "Ben") as ben:
        ana.sees("you are in the room")
        ben.sees("you are in the room")
        ana.type("\x1b[2J\x1b]0;title\x07 \x9b31m back\x08 \x7f re\rturn, and a\ttab")
        line = ben.sees("Ana: ")
        assert line == "Ana: ␛[2J␛]0;title␇ \ufffd31m back␈ ␡ re␍turn, and a\ttab"


def test_lines_cannot_pass_for_somebody_elses(server: Server) -> None:
    account = server.sign_in("Mallory")
    room = server.open_room(account["token"])
    with Terminal(room["deepLink"], "Ana") as ana, Terminal(room["deepLink"], "Ben") as ben:
        ana.sees("you are in the room")
        ben.sees("you are in the room")
        ana.type("x" * 5000)
        assert "longer than 4096 bytes" in ana.sees("* not sent")
        ana.type("   ")
        ana.type("next")
        assert ben.sees("Ana: ") == "Ana: next"


def test_a_closed_room(server: Server) -> None:
    account = server.sign_in("Owner")
    room = server.open_room(account["token"])
    with Terminal(room["deepLink"], "Ana") as ana:
        ana.sees("you are in the room")
        assert server.ask("DELETE", f"/api/v1/rooms/{room['roomId']}", token=account["token"])[0] == 204
        ana.sees("* this room was closed")
        assert ana.ends() == (0, "")


def test_a_killed_server(server: Server) -> None:
    link = server.open_room()["deepLink"]
    with Terminal(link, "Ana") as ana:
        ana.sees("you are in the room")
        server.kill()
        ana.sees("Reconnecting")
        ana.type("typed while nobody was there")
        server.start()
        assert ana.sees("Ana: ") == "Ana: typed while nobody was there"
        ana.type("/quit")
        assert ana.ends() == (0, "")


def test_on_a_real_terminal_what_is_typed_is_not_printed_again(server: Server) -> None:
    link = server.open_room()["deepLink"]
    outside, inside = pty.openpty()
    with Terminal(link, "Ben") as ben:
        ben.sees("you are in the room")
        command = [sys.executable, "-m", "evanesce", "chat", link, "--name", "Ana"]
        with subprocess.Popen(command, stdin=inside, stdout=subprocess.PIPE, start_new_session=True) as ana:
            os.close(inside)
            ben.sees("* Ana joined")
            os.write(outside, "grüezi\n".encode())
            assert ben.sees("Ana: ") == "Ana: grüezi"
            ben.type("hello")
            ben.sees("Ben: hello")
            assert ana.stdout is not None
            printed = ""
            while "Ben: hello" not in printed:  # who quits before that is printed does not see it
                line = ana.stdout.readline().decode()
                assert line
                printed += line
            os.write(outside, b"/quit\n")
            printed += ana.stdout.read().decode()
            assert ana.wait(10) == 0
        os.close(outside)
    assert "Ben: hello" in printed
    assert "Ana: " not in printed


def test_the_output_of_a_program_is_sent_as_one_message(server: Server) -> None:
    """`uptime | evanesce chat LINK`, as the reference of the clients shows it."""
    assert "`uptime | evanesce chat LINK`" in REFERENCE.read_text()
    link = server.open_room()["deepLink"]
    with Terminal(link, "Ben") as ben:
        ben.sees("you are in the room")
        command = f"echo 'up 3 days' | {shlex.quote(sys.executable)} -m evanesce chat {shlex.quote(link)}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        assert ben.sees(": up 3 days")
