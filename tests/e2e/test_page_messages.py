"""What people do with messages on the page: links, code, replies, a shorter life, the menu, and all by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

Two = tuple[BrowserClient, BrowserClient]
FOCUSED = "document.activeElement.closest('.message')?.querySelector('.text').textContent ?? document.activeElement.id"


@pytest.fixture
def two(server: Server, browser_client: Callable[..., BrowserClient]) -> Two:
    """Two people in a room."""
    link = server.open_room()["deepLink"]
    clients: list[BrowserClient] = []
    for number, name in enumerate(("Ana", "Ben"), 1):
        clients.append(browser_client())
        clients[-1].sign_in(link, name)
        clients[-1].in_room(number)
    return clients[0], clients[1]


def choose(one: BrowserClient, text: str, item: str) -> None:
    """Choose an item from the menu of a message."""
    message = one.page.locator(".message", has=one.page.locator(".text", has_text=text)).first
    message.hover()
    message.get_by_role("button", name="What to do").click()
    one.page.get_by_role("menuitem", name=item).click()


def test_links_and_code_and_nothing_else(two: Two) -> None:
    ana, ben = two
    ana.say("see https://example.org/a?b=1. and `x < y`, not **bold** or javascript:alert(1)")
    ben.sees("see https://example.org/a?b=1. and x < y, not **bold** or javascript:alert(1)")
    link = ben.page.locator(".message a")
    assert link.text_content() == "https://example.org/a?b=1"
    assert link.get_attribute("href") == "https://example.org/a?b=1"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("target") == "_blank"
    assert ben.page.locator(".message code").all_text_contents() == ["x < y"]
    ana.say("https://\N{CYRILLIC SMALL LETTER A}pple.example/")
    ben.sees("https://xn--pple-43d.example/")
    ana.say("first line\n  second line")
    ben.sees("first line\n  second line")


def test_what_somebody_does(two: Two) -> None:
    ana, ben = two
    ana.say("/me waves `hello`")
    ben.sees("Ana waves hello")
    assert ben.page.locator(".message.action .actor").text_content() == "Ana"


def test_a_reply_quotes_a_message_and_the_quote_is_gone_with_it(two: Two) -> None:
    ana, ben = two
    ana.say("where do we meet?")
    ben.sees("where do we meet?")
    choose(ben, "where do we meet?", "Reply")
    ben.shows("#replying:has-text('where do we meet?')")
    assert ben.page.evaluate(FOCUSED) == "composer-text"
    ben.say("at the lake")
    assert ben.page.locator("#replying").is_hidden()
    ana.sees("at the lake")
    ana.shows(".quoted:has-text('Ana'):has-text('where do we meet?')")
    ana.page.click(".quoted")
    assert ana.page.evaluate(FOCUSED) == "where do we meet?"
    choose(ben, "where do we meet?", "Reply")
    choose(ana, "where do we meet?", "Unsend")
    for one in two:
        one.shows(".quote:has-text('Reply to a message that is gone')")
        assert "where do we meet?" not in one.page.locator("#messages").inner_html()
    assert "where do we meet?" not in ben.page.content(), "what is being replied to is not shown either"
    ben.say("a reply all the same")
    ana.sees("a reply all the same")
    assert ana.page.locator(".quote .vanished").count() == 2
    choose(ben, "a reply all the same", "Reply")
    ben.page.press("#composer-text", "Escape")
    assert ben.page.locator("#replying").is_hidden()


def test_what_was_taken_back_can_be_sent_again_for_the_rest_of_its_life(two: Two) -> None:
    ana, ben = two
    ana.say("too early")
    ben.sees("too early")
    choose(ana, "too early", "Unsend")
    ben.sees_no("too early")
    ana.shows(".notice:has-text('You took a message back.')")
    ana.page.get_by_role("button", name="Undo").click()
    ben.sees("too early")
    ana.sees("too early")
    assert ana.page.locator(".notice", has_text="took a message back").count() == 0


def test_a_message_lives_shorter_than_the_room(two: Two) -> None:
    ana, ben = two
    ana.page.get_by_label("How long this message lives").select_option("5")
    ana.say("soon gone")
    ben.sees("soon gone")
    ana.page.get_by_label("How long this message lives").select_option("0")
    ana.say("stays")
    ben.sees("stays")
    for one in two:
        one.sees_no("soon gone")
        assert one.messages() == ["stays"]


def test_a_message_is_copied(two: Two) -> None:
    ana, ben = two
    ana.say("to be `copied`")
    ben.sees("to be copied")
    ben.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(ben, "to be copied", "Copy the text")
    ben.shows(".notice:has-text('The text is copied')")
    assert ben.page.evaluate("navigator.clipboard.readText()") == "to be `copied`"


def test_all_of_it_by_keyboard(two: Two) -> None:
    ana, ben = two
    for text in ("one", "two"):
        ana.say(text)
        ben.sees(text)
    keyboard = ben.page.keyboard
    keyboard.press("ArrowUp")
    assert ben.page.evaluate(FOCUSED) == "two"
    keyboard.press("ArrowUp")
    assert ben.page.evaluate(FOCUSED) == "one"
    keyboard.press("Enter")
    items = ben.page.get_by_role("menuitem")
    items.first.wait_for()
    assert items.all_text_contents() == ["Reply", "Copy the text"], "two people cannot vote"
    keyboard.press("End")
    keyboard.press("ArrowDown")
    assert ben.page.evaluate("document.activeElement.textContent") == "Reply"
    keyboard.press("Escape")
    items.first.wait_for(state="detached")
    assert ben.page.evaluate(FOCUSED) == "one"
    keyboard.press("r")
    ben.shows("#replying:has-text('one')")
    keyboard.type("an answer")
    keyboard.press("Enter")
    ana.sees("an answer")
    keyboard.press("Alt+Shift+K")
    assert ben.page.evaluate(FOCUSED) == "an answer"
    keyboard.press("Alt+Shift+M")
    assert ben.page.evaluate(FOCUSED) == "composer-text"
    keyboard.press("Control+/")
    dialog = ben.page.get_by_role("dialog", name="Keyboard and writing")
    dialog.wait_for()
    assert "say what you do" in (dialog.text_content() or "")
    assert ben.page.evaluate("document.activeElement.textContent") == "Keyboard and writing"
    assert dialog.evaluate("one => one.scrollTop") == 0
    keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert ben.page.evaluate(FOCUSED) == "composer-text"
    keyboard.press("Alt+Shift+P")
    ben.shows("#members")


def test_a_menu_closes_with_its_message(two: Two) -> None:
    ana, ben = two
    ana.page.get_by_label("How long this message lives").select_option("5")
    ana.say("soon gone")
    ana.page.get_by_label("How long this message lives").select_option("0")
    ana.say("stays")
    ben.sees("stays")
    ben.page.keyboard.press("ArrowUp")
    ben.page.keyboard.press("ArrowUp")
    assert ben.page.evaluate(FOCUSED) == "soon gone"
    ben.page.keyboard.press("Enter")
    ben.page.get_by_role("menuitem").first.wait_for()
    ben.sees_no("soon gone")
    ben.page.get_by_role("menuitem").first.wait_for(state="detached")
    assert ben.page.evaluate(FOCUSED) == "stays"


def test_what_was_written_is_kept_nowhere(two: Two) -> None:
    ana, ben = two
    canary = "a canary https://example.org/canary `canary`"
    shown = canary.replace("`", "")
    ana.say(canary)
    ben.sees(shown)
    choose(ben, "canary", "Reply")
    ben.say("an answer")
    ana.sees("an answer")
    for one in two:
        kept = one.page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, RegExp.input])")
        assert "canary" not in kept, json.loads(kept)
        assert "canary" not in one.page.title() + one.page.url


SAMPLES = """
    window.sampled = [];
    setInterval(() => window.sampled.push(`${RegExp.input} ${RegExp.lastMatch} ${RegExp.leftContext}`), 5);
"""
"""Keeps what the browser keeps of the last regular expression: what a test evaluates may run one itself."""


@pytest.mark.parametrize("end", ["expiry", "leaving", "signing out"])
def test_no_regular_expression_keeps_a_message(
    server: Server, browser_client: Callable[..., BrowserClient], end: str
) -> None:
    link = server.open_room()["deepLink"]
    ana, ben = browser_client(), browser_client()
    ana.page.add_init_script(SAMPLES)
    for number, (one, name) in enumerate(((ana, "Ana"), (ben, "Ben")), 1):
        one.sign_in(link, name)
        one.in_room(number)
        if end == "expiry":
            one.page.get_by_label("How long this message lives").select_option("5")
    canary = "canary https://example.org/canary `canary`"
    shown = canary.replace("`", "")
    for writer in (ana, ben):
        writer.say(f"{canary} {'AB'[writer is ben]}")
        ana.sees(f"{shown} {'AB'[writer is ben]}")
    if end == "expiry":
        ana.page.locator("#messages .text").last.wait_for(state="detached")
    elif end == "leaving":
        ana.page.click("#room-menu-open")
        ana.page.click("#room-leave")
        ana.shows("#home")
    else:
        ana.page.click("#account-open")
        ana.page.click("#sign-out")
        ana.page.click("#confirm-yes")
        ana.shows("#sign-in")
    count = ana.page.evaluate("window.sampled.length")
    ana.page.wait_for_function("count => window.sampled.length > count", arg=count)
    assert ana.page.evaluate("window.sampled.filter(one => one.includes('canary'))") == []
    ana.page.evaluate("setTimeout(() => /tested/.test('tested by the test'))")
    ana.page.wait_for_function("() => window.sampled.some(one => one.includes('tested by the test'))")
