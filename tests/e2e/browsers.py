"""Clients in a real browser. Playwright blocks, so tests with them cannot be Trio tests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

# The flags against background networking prevent Chromium from contacting hosts of its vendor at every start.
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Return the path of this machine's Chromium; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def without_ways(route: Route) -> None:
    """Answer with the page of a server that has no way to sign in on it."""
    page = route.fetch()
    route.fulfill(response=page, body=re.sub("<meta[^>]* data-provider[^>]*>", "", page.text()))


def expect_description(locator: Locator, text: str) -> None:
    """Wait until this is what a screen reader says after the name of an element."""
    from playwright.sync_api import expect

    expect(locator).to_have_accessible_description(text, timeout=1000 * PATIENCE)


def expect_opacity(locator: Locator, opacity: str) -> None:
    """Wait until an element has this opacity."""
    from playwright.sync_api import expect

    expect(locator).to_have_css("opacity", opacity, timeout=1000 * PATIENCE)


class BrowserClient:
    """A client with a browser context of its own. `problems` are its errors, without those that the test expects."""

    def __init__(self, browser: Browser, *, phone: bool = False, worker: bool = False, locale: str = "en-US") -> None:
        """Open a page. Without `worker` there is no service worker: Playwright routes none of its requests."""
        size = {"width": 390, "height": 780} if phone else {"width": 1100, "height": 760}
        self.context = browser.new_context(
            viewport=size, has_touch=phone, service_workers="allow" if worker else "block", locale=locale
        )  # type: ignore[arg-type]  # a ViewportSize
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.problems: list[str] = []
        self._expected: list[str] = []
        self.page.on("pageerror", lambda error: self._add(str(error)))
        self.page.on("console", lambda message: self._add(message.text) if message.type == "error" else None)

    def _add(self, problem: str) -> None:
        if not any(text in problem for text in self._expected):
            self.problems.append(problem)

    def expect(self, text: str) -> None:
        """Take errors with this text for expected, also those that the browser reports after the test has ended."""
        self._expected.append(text)
        self.problems = [problem for problem in self.problems if text not in problem]

    def sign_in(self, url: str, name: str) -> None:
        self.page.goto(url)
        self.page.fill("#sign-in-name", name)
        self.page.click("text=Continue as a guest")

    def say(self, text: str) -> None:
        self.page.fill("#composer-text", text)
        self.page.press("#composer-text", "Enter")

    def sees(self, text: str) -> None:
        """Wait for a message with exactly this text."""
        self.page.locator("#messages .text").get_by_text(text, exact=True).first.wait_for()
        assert text in self.messages()

    def messages(self) -> list[str]:
        return self.page.locator("#messages .text").evaluate_all("all => all.map(one => one.textContent)")  # type: ignore[no-any-return]

    def sees_no(self, text: str) -> None:
        self.page.locator("#messages .text").get_by_text(text, exact=True).first.wait_for(state="detached")

    def shows(self, selector: str) -> None:
        self.page.locator(selector).wait_for()

    def in_room(self, members: int) -> None:
        self.page.locator("#members-count", has_text=re.compile(rf"^{members} (person|people)$")).wait_for()
