"""The ways in which the page is looked at: width, colours, language and size of the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e.running import Server
from tests.page.states import Stage
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LARGER = """
    new MutationObserver((_, observer) => {
        if (document.documentElement === null) return;
        document.documentElement.style.fontSize = "200%";
        observer.disconnect();
    }).observe(document, { childList: true });
"""
"""What makes the text twice as large, as the setting of a browser does."""

SIZES = ((320, 640), (390, 780), (768, 900), (1280, 800))


@dataclass(frozen=True, slots=True)
class Look:
    """One way to look at the page."""

    width: int = 1280
    height: int = 800
    dark: bool = False
    forced: bool = False
    contrast: bool = False
    large: bool = False
    language: str = "en"
    still: bool = False

    def __str__(self) -> str:
        marks = [name for name in ("dark", "forced", "contrast", "large") if getattr(self, name)]
        return " ".join([str(self.width), *marks, self.language])


LOOKS = (
    *(Look(*size) for size in SIZES),
    *(Look(*size, dark=True) for size in SIZES),
    Look(*SIZES[1], language="ar"),
    Look(*SIZES[3], language="ar", dark=True),
    Look(*SIZES[1], language="de"),
    Look(*SIZES[0], large=True),
    Look(*SIZES[3], large=True, dark=True),
    Look(*SIZES[1], forced=True),
    Look(*SIZES[3], forced=True, dark=True),
    Look(*SIZES[1], contrast=True),
    Look(*SIZES[3], contrast=True, dark=True),
)
"""The looks that a person reviews."""


@contextmanager
def stage(browser: Browser, server: Server, look: Look) -> Iterator[Stage]:
    """Open a page with this look, signed in as a new guest. Raise `AssertionError` if the page has failed."""
    account = server.sign_in("Ana")
    options: dict[str, Any] = {"forced_colors": "active"} if look.forced else {}
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        contrast="more" if look.contrast else "no-preference",
        color_scheme="dark" if look.dark else "light",
        reduced_motion="reduce" if look.still else "no-preference",
        locale={"en": "en-GB", "de": "de-DE", "ar": "ar-EG"}[look.language],
        timezone_id="UTC",
        has_touch=look.width < 768,
        **options,
    )
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    if look.large:
        page.add_init_script(LARGER)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server.url}/healthz")
    page.evaluate("kept => localStorage.setItem('evanesce.account', kept)", json.dumps(account))
    yield Stage(page, account, server.url)
    context.close()
    assert problems == [], problems
