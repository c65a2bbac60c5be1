"""The receiver of the page about webhooks, with a real server, while the secret is replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.e2e.test_ending import served_again
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs/how-to/receive-webhooks.md").read_text("utf-8")
OLD, NEW = f"whsec_{'o' * 40}", f"whsec_{'n' * 40}"


@contextmanager
def receiver(port: int, secret: str) -> Iterator[list[tuple[str, dict[str, str]]]]:
    """Run the page's receiver on a port, and yield what it prints: the types of events with their data."""
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert program.count("9000") == 1
    printed: list[tuple[str, dict[str, str]]] = []
    with subprocess.Popen(
        [sys.executable, "-c", program.replace("9000", str(port))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"WEBHOOK_SECRET": f"{secret}\n"},
    ) as process:
        assert process.stdout is not None

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                kind, _, data = line.partition(" ")
                printed.append((kind, json.loads(data)))

        reading = threading.Thread(target=read)
        reading.start()
        try:
            yield printed
        finally:
            process.kill()
            reading.join()


async def test_the_receiver_verifies_what_a_server_sends_also_with_a_new_secret(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    port, secrets = free_port(), tmp_path / "webhooks.secret"
    secrets.write_text(OLD)
    [configuration] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "config.toml").write_text(configuration.replace("9000", str(port)))
    with Server(tmp_path, "plugins.webhooks.leave_seconds=600") as server:
        ana = await ChatClient.open(server, nursery, "Ana")
        with receiver(port, OLD) as printed:
            room_id = (await ana.ask("create_room"))["roomId"]
            await ana.join(room_id)
            await ana.say(room_id, "nobody else hears this")
            await until(lambda: len(printed) == 2)
            secrets.write_text(f'["{NEW}", "{OLD}"]')
            server.send_signal(signal.SIGHUP)
            await served_again(server)
            await ana.connect()
            await ana.join(room_id)
            await until(lambda: len(printed) == 4)
        with receiver(port, NEW) as later:
            await ana.ask("close_room", roomId=room_id)
            await until(lambda: len(later) == 1)
        assert OLD not in server.errors
        assert NEW not in server.errors
    about = {"roomId": room_id, "userId": ana.user_id}
    assert printed == [
        ("room.opened", {"roomId": room_id, "createdBy": ana.user_id}),
        ("member.joined", about),
        ("member.left", about),
        ("member.joined", about),
    ]
    assert later == [("room.closed", {"roomId": room_id})]


def test_a_server_takes_the_secret_and_the_configuration_of_the_page(tmp_path: Path) -> None:
    [command] = re.findall(r"^    (echo .*)$", PAGE, re.MULTILINE)
    [settings, *_] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, timeout=PATIENCE, check=True)
    (tmp_path / "config.toml").write_text(settings)
    (tmp_path / "webhooks.secret").chmod(0o600)
    words = [sys.executable, "-m", "evanesce", "check", "--set", f"plugins.quart.bind=127.0.0.1:{free_port()}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "webhooks" in done.stdout
