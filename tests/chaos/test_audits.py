"""The audits of three deployments: each passes, and has looked at the places that the documentation shows."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial

import pytest
import trio

from tests.chaos.audits import DEPLOYMENTS
from tests.patience import undisturbed
from tests.withstand.checks import ROOT

PAGE = ROOT / "docs" / "explanation" / "audit.md"
COMMAND = "python -m tests.chaos.audits"
SECONDS = 600.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes have in memory is read from /proc"),
]


def tables(text: str) -> dict[str, list[str]]:
    """Return the lines of each table, by its title and its command, without the numbers of processes and ports."""
    found = re.findall(r"^### ([^\n]+)\n\n```text\n\$ ([^\n]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {f"{title}: {command}": re.sub(r"\d{4,}", "N", table).splitlines() for title, command, table in found}


def places(table: list[str]) -> list[str]:
    """Return the places of a table."""
    return [line.partition("|")[0].strip() for line in table if "|" in line]


async def test_each_deployment_passes_and_is_shown() -> None:
    page = PAGE.read_text()
    assert f"\n{COMMAND}\n" in page
    command = [sys.executable, *COMMAND.split()[1:], "--short"]
    run = partial(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)

    async def act() -> None:
        done = await trio.to_thread.run_sync(run)
        assert done.returncode == 0, done.stdout
        measured, shown = tables(done.stdout), tables(page)
        assert list(measured) == list(shown) == [f"{one.title}: {one.command}" for one in DEPLOYMENTS]
        for title, table in measured.items():
            assert places(table) == places(shown[title]), title
            assert table[-1].startswith("ok "), title
            assert "not looked at:" not in table, title

    await undisturbed(act)  # a server that gets no CPU time erases later
