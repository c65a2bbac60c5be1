"""What tells a person of messages while nobody looks at the page: the title, the badge, notifications and a sound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

Two = tuple[BrowserClient, BrowserClient]

# What the browser shows is recorded: a headless one shows no notification to anybody.
RECORDED = """
window.badges = [];
navigator.setAppBadge = async (count) => void badges.push(count);
window.notices = new Map();
window.Notification = class extends EventTarget {
    static permission = "default";
    static async requestPermission() { return (Notification.permission = window.answer ?? "granted"); }
    constructor(title, options) { super(); this.tag = options.tag; notices.set(options.tag, { title, ...options }); }
    close() { notices.delete(this.tag); }
};
window.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (when) { tones += 1; return start.call(this, when); };
window.look = (seen) => {
    Object.defineProperty(document, "hidden", { value: !seen, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
};
"""
SHOWN = "[...notices.values()].map(({ title, body }) => [title, body])"


@pytest.fixture
def two(server: Server, browser_client: Callable[..., BrowserClient]) -> Two:
    """Two people in a room; what the browser of the second one shows is recorded."""
    link = server.open_room()["deepLink"]
    ana, ben = browser_client(), browser_client()
    ben.page.add_init_script(RECORDED)
    for number, (one, name) in enumerate(((ana, "Ana"), (ben, "Ben")), 1):
        one.sign_in(link, name)
        one.in_room(number)
    return ana, ben


def asks_for(one: BrowserClient, *labels: str) -> None:
    one.page.click("#room-menu-open")
    one.page.click("#alerts-open")
    for label in labels:
        one.page.get_by_label(label).check()
    one.page.locator("dialog.settings").get_by_role("button", name="Done").click()


def title_is(one: BrowserClient, title: str) -> None:
    one.page.wait_for_function("title => document.title === title", arg=title)


def test_the_title_and_the_badge_count_what_nobody_has_seen(two: Two) -> None:
    ana, ben = two
    plain = ben.page.title()
    ana.say("seen")
    ben.sees("seen")
    assert ben.page.title() == plain
    ben.page.evaluate("look(false)")
    ana.page.get_by_label("How long this message lives").select_option("5")
    ana.say("soon gone")
    title_is(ben, f"(1) {plain}")
    ana.page.get_by_label("How long this message lives").select_option("0")
    ana.say("stays")
    title_is(ben, f"(2) {plain}")
    ben.sees_no("soon gone")
    title_is(ben, f"(1) {plain}")
    ben.page.evaluate("look(true)")
    title_is(ben, plain)
    assert ben.page.evaluate("badges") == [1, 2, 1, 0]
    assert ben.page.evaluate(SHOWN) == [], "nobody has asked for notifications"


def test_a_notification_says_nothing_of_the_content_and_goes_with_the_message(two: Two) -> None:
    ana, ben = two
    asks_for(ben, "Show notifications")
    ben.page.evaluate("look(false)")
    ana.page.get_by_label("How long this message lives").select_option("5")
    ana.say("a canary")
    ben.page.wait_for_function("() => notices.size === 1")
    assert ben.page.evaluate(SHOWN) == [["1 new message", ""]]
    assert ben.page.evaluate("[...notices.values()][0].silent") is True
    ben.page.wait_for_function("() => notices.size === 0")
    ana.say("another canary")
    ben.page.wait_for_function("() => notices.size === 1")
    ben.page.evaluate("look(true)")
    ben.page.wait_for_function("() => notices.size === 0")
    assert "canary" not in ben.page.evaluate("JSON.stringify({...localStorage})")


def test_the_content_is_shown_where_it_is_asked_for_and_withdrawn_with_the_message(two: Two) -> None:
    ana, ben = two
    asks_for(ben, "Show notifications", "Show who writes, and what")
    ben.page.evaluate("look(false)")
    ana.say("at the lake")
    ben.page.wait_for_function("() => notices.size === 1")
    assert ben.page.evaluate(SHOWN) == [["Ana", "at the lake"]]
    ana.page.locator(".message").hover()
    ana.page.get_by_role("button", name="What to do").click()
    ana.page.get_by_role("menuitem", name="Unsend").click()
    ben.page.wait_for_function("() => notices.size === 0")


def test_a_sound_is_played_where_it_is_asked_for(two: Two) -> None:
    ana, ben = two
    ben.page.evaluate("look(false)")
    ana.say("silent")
    ben.sees("silent")
    assert ben.page.evaluate("tones") == 0
    ben.page.evaluate("look(true)")
    asks_for(ben, "Play a sound")
    ben.page.wait_for_function("() => tones === 2")
    ben.page.wait_for_function("since => performance.now() - since > 1000", arg=ben.page.evaluate("performance.now()"))
    ben.page.evaluate("look(false)")
    ana.say("audible")
    ben.page.wait_for_function("() => tones === 4")


def test_a_browser_that_forbids_notifications_is_told_of(two: Two) -> None:
    ana, ben = two
    ben.page.evaluate("window.answer = 'denied'")
    ben.page.click("#room-menu-open")
    ben.page.click("#alerts-open")
    box = ben.page.get_by_label("Show notifications")
    box.click()
    ben.shows("dialog .problem:has-text('does not allow notifications')")
    assert not box.is_checked()
    assert ben.page.get_by_label("Show who writes, and what").is_disabled()
    ben.page.locator("dialog.settings").get_by_role("button", name="Done").click()
    ben.page.evaluate("look(false)")
    ana.say("nothing to see")
    ben.sees("nothing to see")
    assert ben.page.evaluate(SHOWN) == []


def test_signing_out_forgets_what_was_asked_for(two: Two) -> None:
    _, ben = two
    asks_for(ben, "Show notifications", "Play a sound")
    assert "evanesce.alerts" in ben.page.evaluate("JSON.stringify({...localStorage})")
    ben.page.click("#account-open")
    ben.page.click("#sign-out")
    ben.page.click("#confirm-yes")
    ben.shows("#sign-in-reason:has-text('You are signed out')")
    assert ben.page.evaluate("localStorage.length") == 0
