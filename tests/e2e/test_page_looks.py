"""Every state of the page in every size: axe-core finds nothing, nothing is cut off, and nothing moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests import node_packages
from tests.e2e.running import Server
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


def test_nothing_moves_while_the_page_loads_and_messages_go(browser: Browser, shared_server: Server) -> None:
    with looks.stage(browser, shared_server, Look(*SIZES[1])) as stage:
        stage.page.add_init_script(SHIFTS)
        states.first_visit(stage)
        stage.page.locator("#demo-messages .gone").last.wait_for(state="hidden")
        assert stage.page.evaluate("shifts.map(({ value }) => value)") == []
    with looks.stage(browser, shared_server, Look(*SIZES[1])) as stage:
        stage.page.add_init_script(SHIFTS)
        stage.room()
        stage.say(1, "Ben", "soon gone", 0.04)
        stage.say(2, "Ben", "stays")
        at = "one => one.getBoundingClientRect().top"
        stage.page.locator("#messages .text").get_by_text("stays").wait_for()
        assert stage.page.evaluate("shifts.map(({ value }) => value)") == []
        before = stage.page.locator("#messages .text").get_by_text("stays").evaluate(at)
        stage.page.locator("#messages .text").get_by_text("soon gone").wait_for(state="detached")
        stage.page.evaluate("new Promise(requestAnimationFrame)")
        after = stage.page.locator("#messages .text").get_by_text("stays").evaluate(at)
        assert abs(after - before) < 0.1


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
