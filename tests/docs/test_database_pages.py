"""Run the commands of the pages about the database, one after the other, as a deployer types them."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs.shown_commands import ROOT, shown
from tests.docs.test_commands_shown import EVANESCE, SECONDS
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", ["manage-the-database.md", "upgrade.md"])
def test_the_commands_of_the_page_succeed_in_their_order(tmp_path: Path, page: str) -> None:
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    commands = shown(ROOT / "docs" / "how-to" / page)
    assert [command for command in commands if command.startswith("evanesce db backup ")]
    settings = ["--set", f"plugins.quart.bind=127.0.0.1:{free_port()}"]  # the fixed port may be taken here
    for command in ["evanesce db", *commands]:  # the pages are about a database that is there
        words = shlex.split(command)
        assert words[0] == "evanesce"
        done = subprocess.run(
            [EVANESCE, *words[1:], *settings],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert done.stdout.strip()
