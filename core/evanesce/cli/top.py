"""`evanesce top`: a live view of all servers in the terminal, drawn by Rich, which the extra `top` installs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evanesce.cli.admin_client import Address, Failed, ask
from evanesce.cli.admin_output import parts, server_cells
from evanesce.cli.safe_text import safe
from evanesce.errors import ConfigurationError

Answer = Mapping[str, Any]

RATES = {"accepted": "in/s", "delivered": "out/s", "skipped": "late/s"}
"""The counters of a server whose rates are shown, and their headings: messages that came, went out, and expired."""

HEADINGS = ("server", "state", "clients", "users", "rooms", "redis", "loop", "p99", *RATES.values())
"""The headings of the table, which fits into 80 columns: names of servers are shortened. Times are milliseconds."""

NAME_COLUMNS = 18
"""How much of the name of a server is shown."""


def rates(before: Answer | None, now: Answer, name: str) -> list[str]:
    """Return how fast the counters of a server grow, between the last two reports that differ; `-` while unknown."""
    old: Answer | None = None if before is None else before["servers"].get(name)
    new: Answer = now["servers"][name]
    seconds = 0.0 if old is None else _seconds(str(new["reportedAt"])) - _seconds(str(old["reportedAt"]))
    if old is None or seconds <= 0 or old["startedAt"] != new["startedAt"]:
        return ["-"] * len(RATES)
    return [f"{(new[counter] - old[counter]) / seconds:.1f}" for counter in RATES]


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def run(server: Address, *, interval: float, count: int | None) -> int:
    """Show the servers, again after each `interval`, `count` times or until interrupted. Return the exit code."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise ConfigurationError("evanesce top", "needs the package rich", "Install evanesce[top]") from None

    console = Console()
    before: Answer | None = None
    shown: dict[str, list[str]] = {}
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            failure = ""
            now: Answer
            try:
                now = ask(server, "GET", ("stats",), {})
            except Failed as error:
                if before is None:
                    raise
                now, failure = before, str(error)
            for name in now["servers"]:
                known = rates(before, now, name)
                if "-" not in known or name not in shown:
                    shown[name] = known
            live.update(view(now, shown, failure), refresh=True)
            before = now
            if count is not None:
                count -= 1
                if count <= 0:
                    return 0
            time.sleep(interval)


def view(answer: Answer, shown: Mapping[str, list[str]], failure: str) -> Any:
    """Return what is shown: a table of the servers, and the parts that they depend on. `failure` says what is old."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(HEADINGS[0], no_wrap=True, max_width=NAME_COLUMNS)
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, server in answer["servers"].items():
        named, _, *cells = server_cells(name, server)
        # As Text, because Rich would take brackets in a name as markup.
        table.add_row(*(Text(cell, overflow="ellipsis") for cell in (named, *cells, *shown[name])))
    state = f"not up to date: {safe(failure)}" if failure else f"answered by {safe(str(answer['answeredBy']))}"
    return Group(table, *(Text(line) for line in parts(answer)), Text(state))
