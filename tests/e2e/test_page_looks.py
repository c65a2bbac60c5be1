"""Every state of the page in every size: axe-core finds nothing, nothing is cut off, and nothing moves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from evanesce.model import timestamp
from tests import node_packages
from tests.e2e.browsers import expect_opacity
from tests.e2e.running import Server
from tests.e2e.test_page_protocol import NOW, message
from tests.page import looks, states
from tests.page.looks import SIZES, Look
from tests.page.states import STATES, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

AXE = """async rules => {
    const { violations } = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(one => [id, one.target.join(" "), one.failureSummary]));
}"""

CUT_OFF = """() => [...document.querySelectorAll("button, a, input, textarea, h1, h2")]
    .filter(one => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !one.closest(".message"))
    .filter(one => one.getBoundingClientRect().left < -1 || one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.id || one.className || one.textContent)"""
"""What of the page is beyond the left or right end of the window."""

SMALL = """() => [...document.querySelectorAll("button")]
    .filter(one => one.checkVisibility({ visibilityProperty: true }))
    .map(one => [one.id || one.className, one.getBoundingClientRect().width, one.getBoundingClientRect().height])
    .filter(([, width, height]) => width > 0 && (width < 43.5 || height < 43.5))"""

SHIFTS = """
    window.shifts = [];
    new PerformanceObserver(list => shifts.push(...list.getEntries().filter(({ hadRecentInput }) => !hadRecentInput)))
        .observe({ type: "layout-shift", buffered: true });
"""


ENDS = """
    window.ends = [];
    const { animate } = Element.prototype;
    Element.prototype.animate = function (frames, timing) {
        if (this.matches(".message")) ends.push(timing.duration);
        return animate.call(this, frames, timing);
    };
"""
"""Keeps how long each message took to fade out, in ms."""

BROKEN = """() => {
    const broken = [];
    for (const one of document.querySelectorAll("button, h1, h2, label, a")) {
        if (!one.checkVisibility({ visibilityProperty: true }) || one.closest(".visually-hidden, .text")) continue;
        const texts = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const text = texts.currentNode;
            if (text.parentElement.closest("bdi, .visually-hidden, .word")) continue; // names are cut off or broken
            for (const { 0: word, index } of text.data.matchAll(/[^\\s-]+/g)) {
                const range = document.createRange();
                range.setStart(text, index);
                range.setEnd(text, index + word.length);
                if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) broken.push(word);
            }
        }
    }
    return broken;
}"""
"""The words of controls and titles that are on more than one line."""


@pytest.fixture(scope="module")
def axe() -> str:
    """The text of axe-core."""
    return (node_packages.install("axe-core") / "axe.min.js").read_text("utf-8")


@pytest.fixture
def show(browser: Browser, shared_server: Server) -> Iterator[Callable[[Look, str], Stage]]:
    """Bring a new page into a state."""
    open_stages = []

    def bring(look: Look, state: str) -> Stage:
        manager = looks.stage(browser, shared_server, dataclasses.replace(look, still=True))
        open_stages.append(manager)
        stage = manager.__enter__()
        STATES[state](stage)
        return stage

    yield bring
    for manager in open_stages:
        manager.__exit__(None, None, None)


def findings(stage: Stage, axe: str) -> list[Any]:
    stage.page.evaluate(f"() => {{ {axe} }}")
    found: list[Any] = stage.page.evaluate(AXE, RULES)
    return found


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(show: Callable[[Look, str], Stage], axe: str, state: str) -> None:
    stage = show(Look(*SIZES[0]), state)
    for width, height in SIZES:
        stage.page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            stage.page.emulate_media(color_scheme=scheme)
            assert findings(stage, axe) == [], f"{width} px, {scheme}"
        assert stage.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert stage.page.evaluate(CUT_OFF) == [], width


@pytest.mark.parametrize(
    "look",
    [
        Look(*SIZES[1], language="ar"),
        Look(*SIZES[1], language="de", dark=True),
        Look(*SIZES[0], large=True),
        Look(*SIZES[1], forced=True),
        Look(*SIZES[1], contrast=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_in_other_looks(show: Callable[[Look, str], Stage], axe: str, look: Look, state: str) -> None:
    stage = show(look, state)
    assert findings(stage, axe) == []
    assert stage.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert stage.page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("state", ["menu", "share", "account", "confirmation", "message focused", "being sent"])
def test_a_finger_hits_every_button(show: Callable[[Look, str], Stage], state: str) -> None:
    assert show(Look(*SIZES[0]), state).page.evaluate(SMALL) == []


def test_large_text_on_a_small_screen_leaves_room_for_messages(show: Callable[[Look, str], Stage]) -> None:
    stage = show(Look(*SIZES[0], large=True), "conversation")
    assert stage.page.locator("#scroll").evaluate("one => one.clientHeight") > 280
    assert stage.page.locator("#messages .body").first.evaluate("one => one.clientWidth") > 200


def test_nothing_moves_while_the_page_loads(browser: Browser, shared_server: Server) -> None:
    with looks.stage(browser, shared_server, Look(*SIZES[1])) as stage:
        stage.page.add_init_script(SHIFTS)
        states.first_visit(stage)
        stage.page.locator("#demo-messages .gone").last.wait_for(state="hidden")
        assert stage.page.evaluate("shifts.map(({ value }) => value)") == []


@pytest.mark.parametrize("name", ["Ben", "Ana"])
def test_nothing_moves_while_messages_go(browser: Browser, shared_server: Server, name: str) -> None:
    """Where the next message is by the same person, the name is handed on to it: it grows, and its text stays."""
    with looks.stage(browser, shared_server, Look(*SIZES[1])) as stage:
        stage.page.add_init_script(SHIFTS)
        stage.room()
        stage.say(1, "Ben", "soon gone", 0.04)
        stage.say(2, name, "stays")
        at = "one => one.getBoundingClientRect().top"
        stage.page.locator("#messages .text").get_by_text("stays").wait_for()
        assert stage.page.evaluate("shifts.map(({ value }) => value)") == []
        before = stage.page.locator("#messages .text").get_by_text("stays").evaluate(at)
        stage.page.locator("#messages .text").get_by_text("soon gone").wait_for(state="detached")
        stage.page.evaluate("new Promise(requestAnimationFrame)")
        after = stage.page.locator("#messages .text").get_by_text("stays").evaluate(at)
        assert abs(after - before) < 0.1


@pytest.mark.parametrize("still", [False, True], ids=["moving", "reduced motion"])
def test_a_message_pales_in_two_steps_and_leaves(browser: Browser, shared_server: Server, still: bool) -> None:
    life = 600_000
    with looks.stage(browser, shared_server, Look(still=still)) as stage:
        stage.page.add_init_script(ENDS)
        stage.room()
        for number, left in enumerate((0.3, 0.14, 0.04), 1):
            born = NOW - round(life * (1 - left))
            times = {"createdAt": timestamp(born), "expiresAt": timestamp(born + life)}
            stage.script.tell(message(number, f"{left} of its life is left") | times)
        stage.say(4, "Ben", "soon gone", 0.04)
        stage.page.locator("#messages .text").get_by_text("soon gone").wait_for()
        stage.page.locator("#messages .text").get_by_text("soon gone").wait_for(state="detached")
        steps = "all => all.map(one => [...one.classList].filter(name => name.startsWith('pale')))"
        shown = stage.page.locator("#messages .message").evaluate_all(steps)
        assert shown == [[], ["pale"], ["pale", "palest"]]
        assert stage.page.evaluate("ends") == [0 if still else 300]


def test_the_time_left_is_seen_where_one_looks_and_read_aloud(show: Callable[[Look, str], Stage]) -> None:
    stage = show(Look(*SIZES[3]), "conversation")
    message = stage.page.locator(".message", has_text="Good.")
    side = message.locator(".side")
    expect_opacity(side, "0")
    message.locator(".text").hover()
    expect_opacity(side, "1")
    stage.page.locator("#composer-text").hover()
    expect_opacity(side, "0")
    message.focus()
    expect_opacity(side, "1")
    assert re.search(r"\d+ secs? left", message.aria_snapshot())


def test_messages_have_no_times_of_the_clock(show: Callable[[Look, str], Stage]) -> None:
    stage = show(Look(*SIZES[3]), "conversation")
    assert re.findall(r"\d+[:.]\d\d\b", stage.page.inner_text("#room")) == []
    assert stage.page.locator("time").count() == 0


def test_a_first_visit_has_one_field_and_one_button(show: Callable[[Look, str], Stage]) -> None:
    page = show(Look(*SIZES[1]), "first visit").page
    for kind in ("input, textarea, select", "button"):
        assert page.locator(kind).filter(visible=True).count() == 1


@pytest.mark.parametrize("large", [False, True], ids=["text", "large text"])
@pytest.mark.parametrize("state", STATES)
def test_no_word_is_broken_on_a_small_screen(show: Callable[[Look, str], Stage], state: str, large: bool) -> None:
    assert show(Look(*SIZES[0], large=large), state).page.evaluate(BROKEN) == []


def test_a_focused_message_that_expires_hands_the_focus_on(browser: Browser, shared_server: Server) -> None:
    with looks.stage(browser, shared_server, Look()) as stage:
        stage.room()
        stage.say(1, "Ben", "soon gone", 0.03)
        stage.say(2, "Ben", "stays")
        stage.page.locator("#messages .text").get_by_text("stays").wait_for()
        stage.page.locator(".message", has_text="stays").focus()
        stage.page.keyboard.press("ArrowUp")
        focused = "document.activeElement.querySelector('.text').textContent"
        assert stage.page.evaluate(focused) == "soon gone"
        stage.page.locator("#messages .text").get_by_text("soon gone").wait_for(state="detached")
        assert stage.page.evaluate(focused) == "stays"
        assert stage.page.locator("#messages .first .text").all_text_contents() == ["stays"], "it shows its sender now"


def test_the_latest_messages_are_counted_and_reached(show: Callable[[Look, str], Stage]) -> None:
    stage = show(Look(*SIZES[1]), "scrolled up")
    assert stage.page.inner_text("#jump") == "2 new messages"
    stage.page.click("#jump")
    stage.page.locator("#jump").wait_for(state="hidden")
    stage.say(60, "Ben", "followed")
    stage.page.locator("#messages .text").get_by_text("followed").wait_for()
    assert stage.page.locator("#jump").is_hidden()
    assert stage.page.locator("#scroll").evaluate("one => one.scrollHeight - one.scrollTop - one.clientHeight") < 2
