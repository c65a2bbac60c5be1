"""Run every command that the documentation shows.

`test_tutorials` runs those of the tutorials. The continuous integration runs the second of the README; the first is the
installation and the `evanesce serve` of the first tutorial.
`shown_commands` names what other tests run, what runs here in a shorter form, and what cannot run here.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.scenarios import FULL, stages
from tests.core.scaffold.distributions import install
from tests.docs.shown_commands import COMPARISON, ELSEWHERE, NOT_RUN, ROOT, SHORT, shown
from tests.ports import free_port

pytestmark = pytest.mark.slow

EVANESCE = Path(sys.executable).with_name("evanesce")
SECONDS = 60
AUDIT_SECONDS = 240


# test_javascript_client, test_administration and test_database_pages run their commands, one after the other.
OWN = ("javascript-client.md", "administer-a-server.md", "manage-the-database.md", "upgrade.md")
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "tutorial" and page.name not in OWN
)
COMMANDS = sorted({command.removeprefix(".venv/bin/") for page in PAGES for command in shown(page)})
HERE = [command for command in COMMANDS if not {command} & {*ELSEWHERE, *SHORT, *NOT_RUN}]
SERVE = [command for command in HERE if command.startswith("evanesce serve")]
SIMULATE = [command for command in HERE if command.startswith("evanesce worldid-simulator")]
AUDIT = [command for command in HERE if command.startswith("evanesce audit")]
CLIENT = [command for command in HERE if command.startswith("evanesce client-conformance --command")]
REST = [command for command in HERE if command not in (*SERVE, *SIMULATE, *AUDIT, *CLIENT)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the shipped configuration, on free ports."""
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    return tmp_path


def test_commands_are_found_however_they_stand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "```sh\nevanesce check\nevanesce db \\\n  check\n```\n"
    page.write_text(
        f"{block}\n1. As a step:\n\n{textwrap.indent(block.replace('check', 'serve'), '   ')}\n"
        "    evanesce plugins\n    pytest\n\n    evanesce audit [--json]\n\n```text\n    evanesce printed\n```\n"
    )
    assert shown(page) == [
        *("evanesce check", "evanesce db check", "evanesce serve", "evanesce db serve", "evanesce plugins")
    ]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_what_a_page_installs_is_an_extra(page: Path) -> None:
    """Not installed here, because it comes from the network."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    project = page.parent / "pyproject.toml"
    own = tomllib.loads(project.read_text())["project"]["optional-dependencies"] if project.exists() else {}
    text = page.read_text()
    assert set(re.findall(r"pip install '?evanesce\[(\w+)\]", text)) <= extras.keys()
    assert set(re.findall(r"^    pip install -e '\.\[(\w+)\]'$", text, re.MULTILINE)) <= own.keys()


def test_there_are_commands_to_run() -> None:
    assert SERVE
    assert SIMULATE
    assert AUDIT
    assert CLIENT
    assert REST


def test_what_does_not_run_here_is_shown_and_runs_elsewhere_or_has_a_reason() -> None:
    assert {*ELSEWHERE, *SHORT, *NOT_RUN} <= {*COMMANDS}
    assert {command for command in COMMANDS if command.startswith("python ")} <= {*ELSEWHERE, *SHORT, *NOT_RUN}
    for file, words in ELSEWHERE.values():
        assert words in (ROOT / "tests" / file).read_text(), (file, words)
    assert all(NOT_RUN.values())


def test_the_comparison_names_stages_and_servers_that_there_are() -> None:
    found = stages(FULL, [], peers=True)
    words = shlex.split(COMPARISON)
    for option, name in itertools.pairwise(words):
        if option == "--only":
            assert [stage for stage in found if name in stage.name], name
        if option == "--against":
            assert [stage for stage in found if stage.against([], [name]).contenders], name


@pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc")
@pytest.mark.parametrize("command", sorted(SHORT))
def test_a_long_command_of_the_documentation_in_a_short_form(tmp_path: Path, command: str) -> None:
    _, *words = shlex.split(command)
    shorter, printed = SHORT[command]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words, *shlex.split(shorter)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=AUDIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert printed in done.stdout
    assert "--output" not in words or (tmp_path / "index.html").read_text().count("<img ") == 1


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH in which the plugins of the examples are installed."""
    site = tmp_path_factory.mktemp("examples") / "site"
    install([project.parent for project in (ROOT / "docs" / "examples").glob("*/pyproject.toml")], site)
    return site


@pytest.mark.parametrize("command", SERVE)
def test_a_server_that_the_documentation_starts(
    folder: Path, command: str, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(examples))
    # what is shown names fixed ports, which may be taken here
    address = f"127.0.0.1:{free_port()}"
    listens_and_ends(folder, address, *shlex.split(command)[1:], "--set", f"plugins.quart.bind={address}")


@pytest.mark.parametrize("command", SIMULATE)
def test_a_simulator_that_the_documentation_starts(folder: Path, command: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    listens_and_ends(folder, address, *shlex.split(command)[1:], "--bind", address)


@pytest.mark.parametrize("command", AUDIT)
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


@pytest.mark.parametrize("command", CLIENT)
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


@pytest.mark.parametrize("command", REST)
def test_another_command_of_the_documentation(folder: Path, command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "evanesce"
    done = subprocess.run(
        [EVANESCE, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
