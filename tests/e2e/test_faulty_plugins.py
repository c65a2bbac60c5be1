"""Real processes with a plugin at fault: what ends them, in words, and what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from evanesce.client.errors import Refused
from tests.checks import failure
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.patience import PATIENCE, Stopwatch, within
from tests.ports import free_port

pytestmark = pytest.mark.slow

SECRET = "S3CR3T-content"
CODE = (Path(__file__).parent / "data" / "odd.py").read_text()
ENABLED = 'plugins.enabled=["guest", "sqlite", "quart", "odd"]'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Install the plugin `odd` in a folder."""
    folder = tmp_path / "site"
    metadata = folder / "odd-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "odd.py").write_text(CODE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[evanesce.plugins]\nodd = odd\n")
    return folder


@contextmanager
def serving(site: Path, odd: str, *options: str) -> Iterator[Server]:
    """Serve with the plugin doing what `odd` says; it has to end with exit code 0."""
    folder = site.parent / "server"
    folder.mkdir()
    environment = {"PYTHONPATH": str(site), "ODD": odd}
    with Server(folder, ENABLED, environment=environment, options=options) as server:
        yield server


@contextmanager
def starting(site: Path, odd: str, command: str = "serve") -> Iterator[subprocess.Popen[str]]:
    folder = site.parent / "server"
    folder.mkdir()
    bind = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "evanesce", command, "--set", ENABLED, "--set", f"plugins.quart.bind={bind}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site), "ODD": odd},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def refused_in_a_room(server: Server) -> tuple[str, float]:
    """Send a message, and see that the server goes on; give the error's code, and how long it took."""
    async with trio.open_nursery() as nursery:
        client = await ChatClient.open(server, nursery, SECRET)
        room_id = (await client.ask("create_room"))["roomId"]
        await client.join(room_id)
        stopwatch = Stopwatch()
        with pytest.raises(Refused) as refused:
            await client.say(room_id, SECRET)
        taken = stopwatch.seconds()
        assert (await client.ask("members", roomId=room_id))["memberCount"] == 1
        other = await ChatClient.open(server, nursery, "somebody else")
        await other.join(room_id)
        nursery.cancel_scope.cancel()
    return refused.value.code, taken


async def test_a_filter_that_exits_refuses_the_message_and_nothing_else(site: Path) -> None:
    with serving(site, "filter") as server:
        code, _ = await refused_in_a_room(server)
    assert code == "internal"
    assert "plugin odd: evanesce_filter_message (odd:" in server.errors
    assert "SystemExit at odd.py:" in server.errors
    assert SECRET not in server.errors


async def test_texts_are_shown_to_those_who_ask(site: Path) -> None:
    with serving(site, "filter", "--debug-plugins") as server:
        assert (await refused_in_a_room(server))[0] == "internal"
    assert "--debug-plugins: the log shows the texts of plugins' exceptions. They may hold messages" in server.errors
    assert f"SystemExit: {SECRET}" in server.errors


WORKERS = ("--workers", "2", "--set", f"server.secret={'s' * 32}")


@pytest.mark.parametrize("workers", [(), WORKERS], ids=["single", "workers"])
async def test_a_change_of_a_plugin_restarts_a_server_that_debugs_plugins_unless_it_is_broken(
    site: Path, workers: tuple[str, ...]
) -> None:
    with serving(site, "", "--debug-plugins", *workers) as server:
        (site / "odd.py").write_text("this is no Python\n")
        await until(lambda: "no restart: " in server.errors, 60)
        assert "plugin 'odd': odd of odd 1.0 cannot be imported: SyntaxError" in server.errors
        (site / "odd.py").write_text(f"{CODE}\nprint('the second version', file=sys.stderr, flush=True)\n")
        await until(lambda: "the second version" in server.errors, 60)
        processes = 3 if workers else 2  # the check, and then what was restarted
        await until(lambda: server.errors.count("the second version") >= processes, 60)
        if not workers:
            assert (await trio.to_thread.run_sync(server._next_line)).startswith("listening on ")
        else:
            await until(lambda: "all workers were restarted" in server.errors, 60)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--set", "server.public_url=https://chat.example"), "https://chat.example"),
        (("--set", "plugins.quart.bind=0.0.0.0:{port}"), "0.0.0.0:{port}"),
        (("--set", "server.public_url=https://chat.example", *WORKERS), "https://chat.example"),
    ],
    ids=["public URL", "bind", "workers"],
)
def test_plugins_are_not_debugged_where_others_can_reach_the_server(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "evanesce", "serve", "--debug-plugins", "--set", "plugins.guest.allow_public=true"]
    bind = ("--set", f"plugins.quart.bind=127.0.0.1:{port}")
    done = subprocess.run(
        [*command, *bind, *(option.replace("{port}", port) for option in options)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("evanesce: --debug-plugins: the log would contain messages and secrets, and other machines")
    assert told.replace("{port}", port) in line


async def test_a_filter_that_cannot_be_ended_does_not_keep_the_server(site: Path) -> None:
    with serving(site, "filter hangs") as server:
        code, taken = await refused_in_a_room(server)
        with within(12):
            await trio.to_thread.run_sync(server.stop)  # with exit code 0
    assert (code, taken < 2.5) == ("internal", True)
    assert "is abandoned" in server.errors
    assert "the process ends though these calls do not: evanesce_filter_message (odd:" in server.errors


@pytest.mark.parametrize("odd", ["observer", "close"])
async def test_what_nobody_waits_for_is_logged(site: Path, odd: str) -> None:
    with serving(site, odd) as server:
        async with trio.open_nursery() as nursery:
            client = await ChatClient.open(server, nursery, SECRET)
            await client.join((await client.ask("create_room"))["roomId"])
            nursery.cancel_scope.cancel()
    assert "plugin odd: " in server.errors
    assert "SystemExit at odd.py:" in server.errors
    assert SECRET not in server.errors


@pytest.mark.parametrize(
    ("odd", "code", "told"),
    [
        ("import", 2, "evanesce: plugin 'odd': odd of odd 1.0 cannot be imported: SystemExit at odd.py:"),
        ("settings", 2, "evanesce: plugin 'odd': evanesce_settings (odd:"),
        (
            "read settings",
            2,
            "evanesce: plugins.odd: cannot be read, because the plugin's model failed (SystemExit at odd.py:",
        ),
        ("build", 2, "evanesce: plugin 'odd': evanesce_configure (odd:"),
        ("open", 2, "evanesce: plugin 'odd': its authenticator could not be opened: SystemExit at odd.py:"),
        ("transport does not start", 2, "evanesce: plugin 'odd': its transport did not report within 10 s that it"),
        ("transport ends", 1, "the server shuts down: the transport of plugin 'odd' failed: SystemExit at odd.py:"),
    ],
)
def test_what_ends_the_server_is_told(site: Path, odd: str, code: int, told: str) -> None:
    with starting(site, odd) as process:
        _, errors = process.communicate(timeout=60)
    assert told in errors
    assert process.returncode == code
    assert SECRET not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("odd", ["import", "settings"])
def test_other_commands_go_on(site: Path, odd: str) -> None:
    with starting(site, odd, "plugins") as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert ("cannot be used: plugin 'odd'" in output) == (odd == "import")
    assert SECRET not in output + errors


def test_check_names_the_plugin(site: Path) -> None:
    with starting(site, "check", "check") as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert failure(output).part == "sign-in odd"
    assert "plugin odd: Authenticator.check (odd:" in errors
    assert SECRET not in output + errors


@pytest.mark.parametrize(
    ("odd", "number", "code"),
    [
        ("open slowly", signal.SIGTERM, 0),
        ("open slowly", signal.SIGINT, 0),
        ("open shielded", signal.SIGTERM, 0),
        ("import slowly", signal.SIGINT, 130),
    ],
)
def test_a_signal_ends_the_start(site: Path, odd: str, number: int, code: int) -> None:
    with starting(site, odd) as process:
        assert process.stdout is not None
        assert process.stdout.readline() in ("opening\n", "importing\n")
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
