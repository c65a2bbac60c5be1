"""The list of messages follows its end whatever takes room from it, and stays where somebody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.running import Server
from tests.e2e.test_page_protocol import message
from tests.page import looks
from tests.page.looks import SIZES, Look
from tests.page.states import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

AT_END = """() => {
    const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#scroll");
    const last = [...document.querySelectorAll("#messages .message")].at(-1).getBoundingClientRect();
    const composer = document.querySelector("#composer").getBoundingClientRect();
    return scrollHeight - scrollTop - clientHeight < 2 && last.bottom <= composer.top + 1;
}"""
"""Whether the last message is seen, above the field."""

DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
AT = "one => one.getBoundingClientRect().top"
WHY = {"type": "goodbye", "code": 1012, "reason": "The server restarts.", "reconnect": True, "reconnectAfter": 60}


@pytest.fixture
def full(browser: Browser, shared_server: Server) -> Iterator[Stage]:
    """A room on a phone with more messages than it shows."""
    with looks.stage(browser, shared_server, Look(*SIZES[1], still=True)) as stage:
        stage.room()
        for number in range(1, 41):
            stage.say(number, "Ben" if number % 3 else "Ana", f"Message {number}")
        stage.page.locator("#messages .text").get_by_text("Message 40").wait_for()
        yield stage


def open_keyboard(stage: Stage) -> None:
    width, height = SIZES[1]
    stage.page.set_viewport_size({"width": width, "height": height - 330})


def grow_composer(stage: Stage) -> None:
    before = stage.page.locator("#composer").evaluate("one => one.offsetHeight")
    stage.page.fill("#composer-text", "a line\n" * 6)
    assert stage.page.locator("#composer").evaluate("one => one.offsetHeight") > before + 40


def lose_the_server(stage: Stage) -> None:
    stage.script.tell(WHY)
    stage.script.lines[-1].close(code=1012)
    stage.page.locator("#banner-retry").wait_for()


def reply(stage: Stage) -> None:
    stage.page.locator(".message").last.focus()
    stage.page.keyboard.press("r")
    stage.page.locator("#replying").wait_for()


CHANGES = [open_keyboard, grow_composer, lose_the_server, reply]


@pytest.mark.parametrize("change", CHANGES, ids=[one.__name__ for one in CHANGES])
def test_the_end_stays_in_sight(full: Stage, change: Callable[[Stage], None]) -> None:
    full.page.wait_for_function(AT_END)
    change(full)
    full.page.wait_for_function(AT_END)
    assert full.page.locator("#jump").is_hidden()
    if change is not lose_the_server:
        full.say(60, "Ben", "followed")
        full.page.locator("#messages .text").get_by_text("followed").wait_for()
        full.page.wait_for_function(AT_END)


@pytest.mark.parametrize("change", CHANGES[:3], ids=[one.__name__ for one in CHANGES[:3]])
def test_what_is_read_stays_where_it_is(full: Stage, change: Callable[[Stage], None]) -> None:
    full.page.wait_for_function(AT_END)
    full.page.locator("#scroll").evaluate("one => { one.scrollTop = 300; }")
    full.page.locator("#jump").wait_for()
    read = full.page.locator("#messages .text").get_by_text("Message 12", exact=True)
    before = read.evaluate(AT)
    change(full)
    full.page.evaluate(DRAWN)
    assert abs(read.evaluate(AT) - before) < 1
    assert full.page.locator("#jump").is_visible()


def test_what_is_read_stays_where_it_is_while_an_older_message_goes(full: Stage) -> None:
    full.page.wait_for_function(AT_END)
    full.page.locator("#scroll").evaluate("one => { one.scrollTop = 300; }")
    full.page.locator("#jump").wait_for()
    read = full.page.locator("#messages .text").get_by_text("Message 12", exact=True)
    before = read.evaluate(AT)
    for number in (2, 3, 5):  # within a group, one that hands its name on, and one that is partly seen
        full.script.tell({"type": "unsent", "messageId": message(number, "")["messageId"]})
        gone = full.page.locator("#messages .text").get_by_text(f"Message {number}", exact=True)
        gone.wait_for(state="detached")
        full.page.evaluate(DRAWN)
        assert abs(read.evaluate(AT) - before) < 1
