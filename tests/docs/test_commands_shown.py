"""Run every command that the documentation shows. The continuous integration runs those of the README.

`test_tutorials` runs those of the tutorials. `tests/benchmarks` and `tests/chaos` run shorter versions of the
benchmarks and the attacks, which take long.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EVANESCE = Path(sys.executable).with_name("evanesce")
SECONDS = 60
AUDIT_SECONDS = 240


def shown(page: Path) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


# test_javascript_client, test_administration and test_database_pages run their commands, one after the other.
OWN = ("javascript-client.md", "administer-a-server.md", "manage-the-database.md", "upgrade.md")
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "tutorial" and page.name not in OWN
)
COMMANDS = [(page.name, command) for page in PAGES for command in shown(page)]
SERVE = [command for _, command in COMMANDS if command.startswith("evanesce serve")]
SIMULATE = [command for _, command in COMMANDS if command.startswith("evanesce worldid-simulator")]
# What their commands run takes minutes.
LONG = (
    "audit.md",
    "benchmarks.md",
    "capacity.md",
    "scaling.md",
    "data-lifetime.md",
    "encryption-at-rest.md",
    "resilience.md",
    "the-page.md",
)
BENCHMARKS = [command for page, command in COMMANDS if page in LONG]
PROOF = "evanesce audit --faults"  # takes minutes: tests/e2e/test_audit.py runs it
AUDIT = [command for _, command in COMMANDS if command.startswith("evanesce audit") and command != PROOF]
CLIENT = [command for _, command in COMMANDS if command.startswith("evanesce client-conformance --command")]
REST = [command for _, command in COMMANDS if command not in (*SERVE, *SIMULATE, *BENCHMARKS, *AUDIT, *CLIENT, PROOF)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the shipped configuration, on free ports."""
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    return tmp_path


def test_there_are_commands_to_run() -> None:
    assert SERVE
    assert SIMULATE
    assert AUDIT
    assert CLIENT
    assert REST


@pytest.mark.parametrize("command", sorted(set(SERVE)))
def test_a_server_that_the_documentation_starts(folder: Path, command: str) -> None:
    # what is shown names fixed ports, which may be taken here
    address = f"127.0.0.1:{free_port()}"
    listens_and_ends(folder, address, *shlex.split(command)[1:], "--set", f"plugins.quart.bind={address}")


@pytest.mark.parametrize("command", sorted(set(SIMULATE)))
def test_a_simulator_that_the_documentation_starts(folder: Path, command: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    listens_and_ends(folder, address, *shlex.split(command)[1:], "--bind", address)


@pytest.mark.parametrize("command", sorted(set(AUDIT)))
def test_an_audit_of_the_documentation(folder: Path, command: str) -> None:
    environment = os.environ | {
        "EVANESCE__PLUGINS__QUART__BIND": f"127.0.0.1:{free_port()}",
        "EVANESCE__MESSAGES__TTL": "1",
    }
    server = subprocess.Popen([EVANESCE, "serve"], cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("listening on ")
        done = subprocess.run(
            [EVANESCE, *shlex.split(command)[1:]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=AUDIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert "memory of server" in done.stdout
    finally:
        server.terminate()
        server.communicate(timeout=SECONDS)


@pytest.mark.parametrize("command", sorted(set(CLIENT)))
def test_a_client_that_the_documentation_shows(folder: Path, command: str) -> None:
    page = (ROOT / "docs" / "how-to" / "test-a-client.md").read_text()
    (folder / "my_client.py").write_text("".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)))
    environment = os.environ | {"PATH": os.pathsep.join([str(EVANESCE.parent), os.environ["PATH"]])}
    done = subprocess.run(
        [EVANESCE, *shlex.split(command)[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("ok      first_chat")


def listens_and_ends(folder: Path, address: str, *arguments: str) -> None:
    # several workers need a secret, which the pages leave to the configuration
    environment = os.environ | ({"EVANESCE__SERVER__SECRET": "s" * 32} if "--workers" in arguments else {})
    process = subprocess.Popen([EVANESCE, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on http://{address}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("command", sorted(set(REST)))
def test_another_command_of_the_documentation(folder: Path, command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "evanesce"
    done = subprocess.run(
        [EVANESCE, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
