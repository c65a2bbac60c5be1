"""Details of the page that a newcomer stumbles over: each of them says or does what is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import segno

from tests.e2e.running import Server
from tests.e2e.test_page_protocol import OTHER, message
from tests.page import looks
from tests.page.looks import SIZES, Look
from tests.page.states import OTHERS, STATES, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

COVERING_KEYBOARD = """
    const viewport = new EventTarget();
    Object.assign(viewport, { height: innerHeight, scale: 1 });
    Object.defineProperty(window, "visualViewport", { value: viewport });
"""
"""A browser that puts its keyboard over the page, as those of iOS do. Chromium makes the page smaller instead."""

SMALL_FIELDS = """[...document.querySelectorAll("input:not([type=checkbox]), textarea, select")]
    .filter(one => one.checkVisibility() && parseFloat(getComputedStyle(one).fontSize) < 16)
    .map(one => one.id || one.outerHTML)"""


def modules(text: str, size: int, error: str, mask: int) -> set[tuple[int, int]]:
    """Return the dark modules of a QR code of this size; none where the text is too long for it."""
    try:
        code = segno.make_qr(
            text, version=(size - 17) // 4, error=error, mask=mask, mode="byte", encoding="ascii", boost_error=False
        )
    except segno.DataOverflowError:
        return set()
    return {(x, y) for y, row in enumerate(code.matrix) for x, one in enumerate(row) if one}


LINK = "http://example.org/r/x"
"""That the scripted server describes a room with."""

FULL_LINK = "http://example.org/r/abcde"
"""As long as its QR code can hold: how the rest of a code is filled is left to who draws it."""

SHARE = "window.shared = []; navigator.share = async (what) => { shared.push(what); };"
"""A device with a menu to share."""


@pytest.fixture
def stage(browser: Browser, shared_server: Server) -> Iterator[Stage]:
    with looks.stage(browser, shared_server, Look(*SIZES[1], still=True)) as stage:
        yield stage


def test_without_the_key_of_a_room_the_field_for_it_has_the_focus(stage: Stage) -> None:
    STATES["key missing"](stage)
    stage.page.locator("#key-bar :focus").wait_for()
    assert stage.page.is_disabled("#composer-text")
    assert stage.page.is_disabled("#composer-send")


def test_what_is_written_without_a_connection_waits(stage: Stage) -> None:
    STATES["disconnected"](stage)
    stage.page.fill("#composer-text", "later")
    stage.page.press("#composer-text", "Enter")
    stage.page.locator("#pending .side:has-text('Waiting for a connection')").wait_for()
    stage.script.answers.append(("send", lambda line, command: None))
    stage.page.click("#banner-retry")
    stage.page.locator("#pending .side:has-text('Sending')").wait_for()


def test_replies_to_one_message_in_a_row_quote_it_once(stage: Stage) -> None:
    stage.room()
    quoted = {"replyTo": message(1, "")["messageId"]}
    stage.script.tell(
        message(1, "Who comes?"), message(2, "Me") | quoted, message(3, "Me too") | quoted, message(4, "No")
    )
    stage.script.tell(message(5, "And me") | quoted)
    stage.page.locator("#messages .text").get_by_text("And me").wait_for()
    shown = stage.page.locator("#messages .quote").evaluate_all("all => all.map(one => one.checkVisibility())")
    assert shown == [True, False, True]
    stage.script.tell({"type": "unsent", "messageId": message(2, "")["messageId"]})
    stage.page.locator("#messages .text").get_by_text("Me", exact=True).wait_for(state="detached")
    assert stage.page.locator("#messages .quote").first.is_visible(), "the next one shows it"


def test_the_quote_of_somebody_with_a_long_name_has_words(stage: Stage) -> None:
    stage.room()
    long_name = {"senderName": "Maximiliane " * 5}
    reply = message(2, "Yes") | {"replyTo": message(1, "")["messageId"]}
    stage.script.tell(message(1, "The words that are quoted") | long_name, reply)
    quote = stage.page.locator(".quoted")
    quote.wait_for()
    right = "one => one.getBoundingClientRect().right"
    assert quote.locator("bdi").evaluate(right) < quote.evaluate(right) - 40


def test_who_was_here_before_a_restart_does_not_join(stage: Stage) -> None:
    stage.room(members=3)
    stage.script.lines[-1].close(code=1012)
    stage.script.asked("room", 2)
    back = {"type": "member_joined", "userId": OTHER, "displayName": "Ben", "memberCount": 2}
    new = {"type": "member_joined", "userId": OTHERS["نور"], "displayName": "Nour", "memberCount": 3}
    stage.script.tell(back)
    stage.script.tell(new)
    stage.page.locator(".notice:has-text('Nour')").wait_for()
    assert not [text for text in stage.page.locator(".notice").all_text_contents() if "Ben" in text]
    assert stage.page.inner_text("#members-count") == "3 people"


@pytest.mark.parametrize(("link", "told"), [("http://127.0.0.1:8000/r/x", True), ("https://chat.example/r/x", False)])
def test_a_link_to_the_device_itself_says_so(stage: Stage, link: str, told: bool) -> None:
    stage.script.answer("room", deepLink=link)
    stage.room(members=1)
    stage.page.locator("#empty-share svg").wait_for()
    stage.page.click("#room-share")
    stage.page.wait_for_function("link => document.querySelector('#share-link').value === link", arg=link)
    assert stage.page.locator("#dialog-share .only-here").is_visible() is told


def test_a_room_without_a_name_is_told_from_others(stage: Stage) -> None:
    STATES["rooms"](stage)
    names = stage.page.locator("#home-rooms bdi").all_inner_texts()
    assert all("0000" in name for name in names)
    assert len(set(names)) == len(names)


def test_a_keyboard_over_the_page_leaves_the_field_and_the_end_in_sight(stage: Stage) -> None:
    stage.page.add_init_script(COVERING_KEYBOARD)
    stage.room()
    for number in range(1, 31):
        stage.say(number, "Ben", f"Message {number}")
    last = stage.page.locator("#messages .text").get_by_text("Message 30", exact=True)
    last.wait_for()
    bottom = "one => one.getBoundingClientRect().bottom"
    change = "height => { visualViewport.height = height; visualViewport.dispatchEvent(new Event('resize')); }"
    for height in (400, 780):
        stage.page.evaluate(change, height)
        stage.page.wait_for_function(
            """height => {
                const composer = document.querySelector("#composer").getBoundingClientRect();
                const last = [...document.querySelectorAll("#messages .message")].at(-1).getBoundingClientRect();
                return Math.abs(composer.bottom - height) < 2 && last.bottom <= composer.top;
            }""",
            arg=height,
        )
        assert last.evaluate(bottom) < height


@pytest.mark.parametrize("state", ["account", "new rules", "rules", "person", "key missing", "share", "first visit"])
def test_no_field_makes_a_phone_zoom_in(stage: Stage, state: str) -> None:
    STATES[state](stage)
    assert stage.page.evaluate(SMALL_FIELDS) == []


def test_the_example_is_called_one(stage: Stage) -> None:
    STATES["invited"](stage)
    assert stage.page.inner_text("#demo .example") == "An example"


def test_a_new_room_gives_its_link_to_the_device_and_to_the_clipboard(stage: Stage) -> None:
    stage.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    stage.page.add_init_script(SHARE)
    STATES["new room"](stage)
    stage.page.locator("#empty-share .send").click()
    assert stage.page.evaluate("shared") == [{"url": LINK}]
    stage.page.locator("#empty-share .copy").click()
    stage.page.locator("#empty-share .copy:has-text('Copied')").wait_for()
    assert stage.page.evaluate("navigator.clipboard.readText()") == LINK


def test_the_code_of_a_room_is_its_link(stage: Stage) -> None:
    stage.script.answer("room", deepLink=FULL_LINK)
    STATES["new room"](stage)
    path = stage.page.locator("#empty-share .code path").get_attribute("d")
    assert path is not None
    dark = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)}
    size = 1 + max(x for x, _ in dark)
    assert stage.page.locator("#empty-share svg").get_attribute("viewBox") == f"-4 -4 {size + 8} {size + 8}"
    # Whoever draws a code may choose its correction and its mask: the link must be in it with one of them.
    assert any(dark == modules(FULL_LINK, size, error, mask) for error in "LMQ" for mask in range(8))
