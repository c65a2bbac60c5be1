"""The sheet with pictures of the page that a person reviews."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

PICTURES = {"first-visit-320-en.png", "conversation-320-en.png"}


def lines(picture: bytes) -> set[bytes]:
    """Return the different lines of pixels of a PNG, as its filters left them: three at most in a blank one."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (320, 640)
    data, at = b"", 8
    while at < len(picture):
        length, kind = int.from_bytes(picture[at : at + 4], "big"), picture[at + 4 : at + 8]
        if kind == b"IDAT":
            data += picture[at + 8 : at + 8 + length]
        at += 12 + length
    pixels = zlib.decompress(data)
    size = len(pixels) // height
    return {pixels[start : start + size] for start in range(0, len(pixels), size)}


def test_the_sheet_has_a_picture_of_each_state(browser: Browser, tmp_path: Path) -> None:
    assert browser.is_connected(), "there is one on this machine"
    chosen = ["--state", "first visit", "--state", "conversation", "--look", "320 en"]
    command = [sys.executable, "-m", "tests.page.sheet", "--output", str(tmp_path / "sheet"), *chosen]
    subprocess.run(command, check=True, capture_output=True, timeout=2 * PATIENCE)
    sheet = (tmp_path / "sheet" / "index.html").read_text("utf-8")
    assert set(re.findall(r'src="([^"]+)"', sheet)) == PICTURES
    for name in PICTURES:
        assert len(lines((tmp_path / "sheet" / name).read_bytes())) > 50, name
