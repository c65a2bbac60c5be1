"""Somebody with a browser of their own. Playwright blocks: no test with a visitor is Trio's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


class Visitor:
    """Somebody with a browser of their own, in which nothing may go wrong unseen."""

    def __init__(self, browser: Browser, *, phone: bool = False) -> None:
        size = {"width": 390, "height": 780} if phone else {"width": 1100, "height": 760}
        self.context = browser.new_context(viewport=size, has_touch=phone)  # type: ignore[arg-type]  # a ViewportSize
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)

    def come(self, url: str, name: str) -> None:
        self.page.goto(url)
        self.page.fill("#sign-in-name", name)
        self.page.click("text=Come in as a guest")

    def say(self, text: str) -> None:
        self.page.fill("#composer-text", text)
        self.page.press("#composer-text", "Enter")

    def sees(self, text: str) -> None:
        """Wait for the message, and find it unchanged to the last code point."""
        self.page.locator("#messages .text").get_by_text(text, exact=True).first.wait_for()
        assert text in self.messages()

    def messages(self) -> list[str]:
        return self.page.locator("#messages .text").evaluate_all("all => all.map(one => one.textContent)")  # type: ignore[no-any-return]

    def sees_no(self, text: str) -> None:
        self.page.locator("#messages .text").get_by_text(text, exact=True).first.wait_for(state="detached")

    def shows(self, selector: str) -> None:
        self.page.locator(selector).wait_for()

    def in_room(self, people: int) -> None:
        self.page.locator("#people-count", has_text=re.compile(rf"^{people} (person|people)$")).wait_for()
