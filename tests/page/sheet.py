"""Take a picture of every state of the page in every look, and put them on one sheet for review.

Use: `python -m tests.page.sheet --output FOLDER`. The sheet is `FOLDER/index.html`.
"""

from __future__ import annotations

import argparse
import html
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.browsers import chromium
from tests.e2e.running import Server
from tests.page.looks import LOOKS, Look, stage
from tests.page.states import STATES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STYLE = "body{font:14px system-ui;margin:1rem}section{display:flex;flex-wrap:wrap;gap:1rem}img{height:22rem}"


def main() -> None:
    """Write the pictures and the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the folder for the pictures and the sheet")
    parser.add_argument("--state", action="append", choices=list(STATES), help="only this state; may be repeated")
    parser.add_argument("--look", action="append", choices=[str(look) for look in LOOKS], help="only this look")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    states = options.state or list(STATES)
    looks = [look for look in LOOKS if options.look is None or str(look) in options.look]
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server, chromium() as browser:
        for state in states:
            for look in looks:
                _take(browser, server, state, look, options.output / _name(state, look))
    (options.output / "index.html").write_text(_sheet(states, looks), "utf-8")


def _take(browser: Browser, server: Server, state: str, look: Look, path: Path) -> None:
    with stage(browser, server, look) as scene:
        STATES[state](scene)
        scene.page.screenshot(path=path)


def _name(state: str, look: Look) -> str:
    return f"{state} {look}.png".replace(" ", "-")


def _sheet(states: list[str], looks: list[Look]) -> str:
    parts = [f"<!doctype html><meta charset=utf-8><title>The page</title><style>{STYLE}</style>"]
    for state in states:
        pictures = "".join(
            f'<figure><img src="{html.escape(_name(state, look))}" alt=""><figcaption>{look}</figcaption></figure>'
            for look in looks
        )
        parts.append(f"<h2>{html.escape(state)}</h2><section>{pictures}</section>")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
