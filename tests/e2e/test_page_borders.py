"""What the page meets in a real browser: a neighbour's cookie, links in other forms, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def open_at(browser: Browser) -> Iterator[Callable[[int], Page]]:
    """Open a page of a width."""
    contexts = []

    def open_page(width: int) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 780}))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_a_cookie_of_a_neighbour_locks_nobody_out(
    shared_server: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    link = shared_server.open_room()["deepLink"]
    ana = browser_client()
    ana.page.goto(link)
    ana.page.evaluate("document.cookie = 'city=São Paulo; path=/'")
    ana.sign_in(link, "Ana")
    ana.in_room(1)
    ana.say("here")
    ana.sees("here")
    ana.page.reload()
    ana.in_room(1)
    assert ana.page.evaluate("document.cookie") == "city=São Paulo"


def test_links_in_other_forms_lead_to_the_room_and_keep_the_fragment(
    shared_server: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    link = shared_server.open_room()["deepLink"]
    base, _, room_id = link.rpartition("/")
    ana = browser_client()
    ana.sign_in(link, "Ana")
    ana.in_room(1)
    for other in (f"{link}/", f"{base}/{room_id.upper()}", f"{base}/{room_id.replace('-', '%2D')}/"):
        ana.page.goto("about:blank")
        ana.page.goto(f"{other}#k=secret")
        ana.in_room(1)
        assert ana.page.url == link, other
        assert ana.page.locator("#share-link").input_value() == f"{link}#k=secret", other


@pytest.mark.parametrize("width", [390, 1280])
def test_an_error_is_a_page(shared_server: Server, open_at: Callable[[int], Page], width: int) -> None:
    page = open_at(width)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    answer = page.goto(f"{shared_server.url}/nothing/<script>alert(1)</script>")
    assert answer is not None
    assert answer.status == 404
    assert page.locator("h1").inner_text() == "Page not found"
    assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "20px"  # its style holds
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("script").count() == 0
    assert refused == []
    page.click("text=Go to the start page")
    page.wait_for_selector("#sign-in")
