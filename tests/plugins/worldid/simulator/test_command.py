"""`evanesce worldid-simulator` as a process: what it prints is what a deployer pastes, and it ends cleanly."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from evanesce_plugins.worldid.rp_signature import Signer
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.worldid.process import SECONDS, running, start

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[4] / "docs/how-to/replace-secrets.md"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_to_paste_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "--bind", "127.0.0.1:0") as simulator:
        url = simulator.url
        assert simulator.first_line == f"listening on {url}"
        assert url.startswith("http://127.0.0.1:")
        assert simulator.settings == {
            "app_id": "app_staging_0123456789abcdef",
            "rp_id": "rp_0123456789abcdef",
            "action": "sign-up",
            "environment": "staging",
            "api_url": url,
            "bridge_url": url,
            "connect_url": f"{url}/verify",
            "signing_key": "ab" * 32,
        }
        assert "PUBLIC" in simulator.text
        assert "IDKit refuses" not in simulator.text
        status, answer = simulator.ask("GET", "/api/v4/rp-status/rp_0123456789abcdef")
        assert (status, answer["staging_status"]) == (200, "registered")
        simulator.process.send_signal(number)
        assert simulator.process.wait(SECONDS) == 0
        assert simulator.errors == ""


def test_an_rp_of_the_deployers_own(tmp_path: Path) -> None:
    key = "cd" * 32
    arguments = ["--bind", "127.0.0.1:0", "--rp-id", "rp_00000000000000ff", "--app-id", "app_ours"]
    arguments += ["--action", 'say "hi"', "--environment", "production", "--signer", Signer(key).address]
    with running(tmp_path, *arguments) as simulator:
        settings = simulator.settings
        assert (settings["rp_id"], settings["app_id"]) == ("rp_00000000000000ff", "app_ours")
        assert (settings["action"], settings["environment"]) == ('say "hi"', "production")
        assert "signing_key" not in settings
        assert "PUBLIC" not in simulator.text
        assert "IDKit refuses this bridge" in simulator.text
        assert simulator.ask("GET", "/api/v4/rp-status/rp_00000000000000ff")[0] == 200
        assert simulator.ask("GET", "/api/v4/rp-status/rp_0123456789abcdef")[0] == 404


@pytest.mark.parametrize(("bind", "here"), [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "[::1]")])
def test_what_listens_everywhere_is_named_as_this_machine(tmp_path: Path, bind: str, here: str) -> None:
    with running(tmp_path, "--bind", bind) as simulator:
        assert simulator.first_line.startswith(f"listening on http://{bind[:-1]}")
        assert simulator.url.startswith(f"http://{here}:")
        assert simulator.ask("GET", "/api/v4/rp-status/rp_0123456789abcdef")[0] == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rp-id", "rp_test"],
        ["--app-id", "ours"],
        ["--signer", "ab" * 32],
        ["--environment", "sandbox"],
        ["--bind", "8100"],
        ["--bind", "127.0.0.1:port"],
        ["--bind", "127.0.0.1:70000"],
    ],
)
def test_arguments_that_are_none(tmp_path: Path, arguments: list[str]) -> None:
    with start(tmp_path, *arguments) as process:
        assert process.wait(SECONDS) != 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert arguments[0] in (tmp_path / "errors").read_text()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with running(tmp_path, "--bind", "127.0.0.1:0") as simulator:
        taken = urlsplit(simulator.url).netloc
        folder = tmp_path / "second"
        folder.mkdir()
        with start(folder, "--bind", taken) as second:
            assert second.wait(SECONDS) != 0
        assert f"cannot listen on {taken}" in (folder / "errors").read_text()


def test_the_check_shows_the_address_of_the_new_key_of_the_guide(tmp_path: Path) -> None:
    """With the block of the guide about replacing secrets, and then with the keys the other way around."""
    keys = {"new.key": "cd" * 32, "old.key": "ab" * 32}
    for name, key in keys.items():
        (tmp_path / name).write_text(f"{key}\n")
        (tmp_path / name).chmod(0o600)
    [block] = re.findall(r"^   \[plugins\.worldid\]\n(.*?)^   ```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    swapped = block.replace("new.key", "x").replace("old.key", "new.key").replace("x", "old.key")
    with running(tmp_path, "--bind", "127.0.0.1:0") as simulator:
        settings = {name: text for name, text in simulator.settings.items() if name != "signing_key"}
        table = "".join(f"{name} = {json.dumps(text)}\n" for name, text in settings.items())
        plugins = '[plugins]\nenabled = ["worldid", "sqlite", "quart"]\n'
        for signing, first, other in ((block, "new.key", "old.key"), (swapped, "old.key", "new.key")):
            (tmp_path / "config.toml").write_text(f"{plugins}[plugins.worldid]\n{table}{signing}")
            bind = f"plugins.quart.bind=127.0.0.1:{free_port()}"
            command = [sys.executable, "-m", "evanesce", "check", "--set", bind]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert Signer(keys[first]).address in done.stdout
            assert Signer(keys[other]).address not in done.stdout
            assert not [key for key in keys.values() if key in done.stdout + done.stderr]
