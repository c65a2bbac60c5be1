"""What the page does where time has passed: a stalled link, a computer that slept, a frozen tab, signing in again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from evanesce.model import timestamp
from tests.e2e.browsers import CHROMIUM_FLAGS, BrowserClient, find_chromium
from tests.e2e.running import Server
from tests.e2e.terminals import Terminal
from tests.e2e.test_page_protocol import NOW, OTHER, TOKEN, Script, message, script
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.slow

__all__ = ["script"]

SLEEPER = """
    window.slept = 0;
    const wall = Date.now;
    Date.now = () => wall() + window.slept;
"""
"""Lets a test move the wall clock alone, as a computer does that sleeps: its monotonic clock stands still."""


@pytest.fixture
def asleep(script: Script, shared_server: Server) -> Script:
    """Return a page in a room whose computer sleeps when `slept` is set."""
    script.page.add_init_script(SLEEPER)
    script.enter(shared_server.url)
    return script


def say(script: Script, text: str) -> None:
    script.page.fill("#composer-text", text)
    script.page.press("#composer-text", "Enter")


def count(script: Script, kind: str) -> int:
    return sum(command["type"] == kind for command in script.commands)


def test_messages_that_arrive_expired_are_counted_as_missed(asleep: Script) -> None:
    late = {"expiresAt": timestamp(NOW - 1)}
    asleep.tell(message(1, "one") | late, message(2, "two") | late, message(3, "three"), message(4, "four") | late)
    asleep.reads("three")
    asleep.notes("3 messages expired before they reached you")
    assert asleep.contents() == ["three"]


def test_nothing_expired_is_readable_after_a_sleep(asleep: Script) -> None:
    asleep.tell(message(1, "one"), message(2, "two") | {"expiresAt": timestamp(NOW + 3_600_000)})
    asleep.reads("two")
    asleep.answer("ping", serverTime=timestamp(NOW + 120_000))
    asleep.page.evaluate("slept = 120_000")
    asleep.page.locator("#messages .text").get_by_text("one", exact=True).wait_for(state="detached")
    asleep.asked("ping")
    assert asleep.contents() == ["two"]


def test_a_message_without_an_acknowledgement_is_not_sent_twice_after_a_sleep(asleep: Script) -> None:
    asleep.answers.append(("send", lambda line, command: None))
    say(asleep, "once")
    asleep.asked("send")
    asleep.answer("ping", serverTime=timestamp(NOW + 120_000))
    asleep.page.evaluate("slept = 120_000")
    asleep.shows("#pending .why:has-text('may not have been sent')")
    asleep.lines[-1].close(code=1011)
    asleep.asked("room", 2)
    say(asleep, "another")
    assert asleep.asked("send", 2)["content"] == "another"


def test_the_token_is_renewed_after_a_sleep(asleep: Script) -> None:
    kept = asleep.page.evaluate(TOKEN)
    asleep.page.evaluate("slept = 13 * 3_600_000; document.dispatchEvent(new Event('visibilitychange'))")
    asleep.page.wait_for_function(f"before => {TOKEN} !== before", arg=kept)
    asleep.told(asleep.page.evaluate(TOKEN))
    assert asleep.commands[-1]["type"] == "hello"


def test_the_countdown_to_the_next_attempt_runs(asleep: Script) -> None:
    asleep.tell({"type": "goodbye", "code": 1012, "reason": "", "reconnect": True, "reconnectAfter": 60})
    asleep.lines[-1].close(code=1012)
    asleep.shows("#banner:has-text('Trying again in')")
    shown = asleep.page.text_content("#banner-text")
    asleep.page.wait_for_function("shown => document.querySelector('#banner-text').textContent !== shown", arg=shown)
    seconds = [
        int("".join(filter(str.isdigit, text or ""))) for text in (shown, asleep.page.text_content("#banner-text"))
    ]
    assert 60 < seconds[0] <= 72
    assert seconds[1] < seconds[0]
    asleep.page.click("#banner-retry")
    asleep.asked("room", 2)
    asleep.page.locator("#banner").wait_for(state="hidden")


@pytest.mark.parametrize("same", [True, False], ids=["the same user", "another user"])
def test_what_is_being_sent_survives_signing_in_again(asleep: Script, same: bool) -> None:
    def sign_in(route: Route) -> None:
        answer = asleep.account | {"token": "newer"} | ({} if same else {"userId": OTHER})
        asleep.account["userId"] = answer["userId"]
        route.fulfill(status=201, content_type="application/json", body=json.dumps(answer))

    asleep.answers.append(("send", lambda line, command: line.close(code=4401)))
    say(asleep, "on its way")
    first = asleep.asked("send")
    asleep.shows("#sign-in")
    assert asleep.page.input_value("#sign-in-name") == "Ana", "a name is asked for once"
    asleep.page.route("**/api/v1/session", sign_in)
    asleep.page.fill("#sign-in-name", "Ana")
    asleep.page.press("#sign-in-name", "Enter")
    asleep.asked("room", 2)
    if same:
        assert [command["token"] for command in asleep.commands if command["type"] == "hello"][-1] == "newer"
        again = asleep.asked("send", 2)
        assert (again["messageId"], again["content"]) == (first["messageId"], "on its way")
        asleep.shows("#pending .message:has-text('on its way')")
    else:
        assert asleep.page.locator("#pending .message").count() == 0
        say(asleep, "by another user")
        assert asleep.asked("send", 2)["content"] == "by another user"


@contextmanager
def frozen_tabs(browser: Browser) -> Iterator[None]:
    """Stop the processes of all tabs, but not the browser's own, which goes on to receive."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    tabs = [process["id"] for process in processes if process["type"] == "renderer"]
    assert tabs
    for tab in tabs:
        os.kill(tab, signal.SIGSTOP)
    try:
        yield
    finally:
        for tab in tabs:
            os.kill(tab, signal.SIGCONT)


@contextmanager
def frozen(browser: Browser) -> Iterator[None]:
    """Stop all processes of a browser, as a phone does that puts it away."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    ids = [process["id"] for process in processes]
    assert {"browser", "renderer"} <= {process["type"] for process in processes}
    for one in ids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in ids:
            os.kill(one, signal.SIGCONT)


def test_a_browser_that_was_frozen_for_two_minutes(
    serve: Callable[..., Server], browser: Browser, browser_client: Callable[..., BrowserClient]
) -> None:
    """What another browser sees burn down meanwhile is the clock of this test."""
    life = 120
    server = serve(f"messages.ttl={life}")
    link = server.open_room()["deepLink"]
    ana = browser_client()
    ana.sign_in(link, "Ana")
    ana.in_room(1)
    second = browser.browser_type.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
    try:
        nour = BrowserClient(second)
        nour.sign_in(link, "Nour")
        nour.in_room(2)
        ana.say("seen")
        nour.sees("seen")
        with frozen(second):
            ana.say("never seen")
            ana.sees("never seen")
            sent = ana.page.locator("#messages .text").get_by_text("never seen", exact=True)
            sent.wait_for(state="detached", timeout=1000 * (life + PATIENCE))
        nour.page.locator(".notice", has_text="expired").first.wait_for()
        assert nour.messages() == []
        ana.in_room(2)
        ana.say("after it")
        nour.sees("after it")
        nour.say("an answer")
        ana.sees("an answer")
        assert nour.page.locator("#banner").is_hidden()
        assert nour.problems == []
    finally:
        second.close()


def test_a_tab_that_was_frozen(
    serve: Callable[..., Server], browser: Browser, browser_client: Callable[..., BrowserClient]
) -> None:
    life = 3
    server = serve(f"messages.ttl={life}")
    link = server.open_room()["deepLink"]
    nour = browser_client()
    nour.sign_in(link, "Nour")
    nour.in_room(1)
    with Terminal(link, "Ana") as ana:
        nour.in_room(2)
        ana.type("seen")
        nour.sees("seen")
        with frozen_tabs(browser):
            for text in ("one", "two"):
                ana.type(text)
                ana.sees(f"Ana: {text}")
            time.sleep(life + 0.1)  # what the test is about: their life is over
        nour.page.locator(".notice", has_text="expired before").first.wait_for()
        assert nour.messages() == []
        ana.type("three")
        nour.sees("three")
        ana.type("/quit")
        assert ana.ends() == (0, "")
