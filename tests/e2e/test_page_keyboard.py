"""A walk by keyboard through every state of the page: all controls are reached, and the focus is always seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.running import Server
from tests.page import looks
from tests.page.looks import SIZES, Look
from tests.page.states import STATES, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

MOST_STOPS = 200
JUST_LOADED = ("no way to sign in", "no rooms", "rooms", "error page", "offline page")
"""States of a page without a field, just loaded: the focus is where the browser puts it, at the beginning."""

HELPERS = """
    const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
    const scope = () => [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
    const controls = () => [...scope().querySelectorAll(FOCUSABLE)].filter(one =>
        one.tabIndex >= 0 && !one.disabled && !one.closest(".side") &&
        one.checkVisibility({ visibilityProperty: true }));
    const name = one => one === document.body ? "BODY" : one.id ? `#${one.id}`
        : `${one.localName} ${(one.getAttribute("aria-label") ?? one.textContent).trim().slice(0, 40)}`;
    window.numbers ??= new Map();
    const number = one => {
        if (!numbers.has(one)) numbers.set(one, numbers.size);
        return numbers.get(one);
    };
    const mark = one => {
        const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(one);
        return JSON.stringify([outlineStyle === "none" ? null : [outlineWidth, outlineColor], boxShadow]);
    };
    const around = one => [one, ...one.children, one.parentElement];
    const isMarked = one => {
        // Without the focus, what is beside a message is hidden, and could not get it again.
        if (one.closest(".side") !== null) return mark(one) !== mark(one.parentElement);
        const [on, off] = [true, false].map(focused => {
            if (!focused) one.blur();
            return around(one).map(mark);
        });
        one.focus({ preventScroll: true, focusVisible: true });
        return on.some((style, index) => style !== off[index]);
    };
    // The part of an element that its scrolled ancestors and the window show.
    const shown = one => {
        let { left, top, right, bottom } = one.getBoundingClientRect();
        for (let at = one.parentElement; at !== null && !one.matches("dialog, [popover]"); at = at.parentElement) {
            if (!["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowY)) continue;
            const box = at.getBoundingClientRect();
            [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
            [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
            if (at.matches("dialog, [popover]")) break;
        }
        return { left: Math.max(left, 0), top: Math.max(top, 0),
            right: Math.min(right, innerWidth), bottom: Math.min(bottom, innerHeight) };
    };
    const isOnTop = one => {
        const { left, top, right, bottom } = shown(one);
        if (right - left < 4 || bottom - top < 4) return false;
        return [0.25, 0.5, 0.75].every(part => {
            const hit = document.elementFromPoint((left + right) / 2, top + (bottom - top) * part);
            return hit !== null && (one.contains(hit) || (hit.contains(one) && scope().contains(hit)));
        });
    };
"""

LOOK_AT_FOCUS = f"""async () => {{ {HELPERS}
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    const one = document.activeElement;
    if (one === document.body) return {{ number: -1, name: "BODY", faults: [] }};
    const faults = [];
    if (!scope().contains(one)) faults.push("outside of the dialog");
    if (!one.checkVisibility({{ visibilityProperty: true }})) faults.push("not visible");
    if (!isOnTop(one)) faults.push("covered or outside of the window");
    if (!isMarked(one)) faults.push("not marked");
    return {{ number: number(one), name: name(one), faults }};
}}"""

CONTROLS = f"() => {{ {HELPERS} return controls().map(one => [number(one), name(one)]); }}"
FOCUS = f"() => {{ {HELPERS} return name(document.activeElement); }}"
CHOSEN = "document.activeElement.closest('.message') === document.activeElement"


@pytest.fixture
def show(browser: Browser, shared_server: Server) -> Iterator[Callable[[str], Stage]]:
    """Bring a new page into a state."""
    open_stages = []

    def bring(state: str) -> Stage:
        manager = looks.stage(browser, shared_server, Look(*SIZES[1], still=True))
        open_stages.append(manager)
        stage = manager.__enter__()
        STATES[state](stage)
        return stage

    yield bring
    for manager in open_stages:
        manager.__exit__(None, None, None)


def walk(stage: Stage, key: str) -> tuple[dict[int, str], list[Any]]:
    """Press a key until the focus is where it was. Return what was reached, and what is wrong with it."""
    reached: dict[int, str] = {}
    faults = []
    for _ in range(MOST_STOPS):
        stage.page.keyboard.press(key)
        stop = stage.page.evaluate(LOOK_AT_FOCUS)
        if stop["number"] in reached:
            return reached, faults
        reached[stop["number"]] = stop["name"]
        if stop["faults"]:
            faults.append((stop["name"], *stop["faults"]))
    raise AssertionError(f"the walk does not end: {list(reached.values())[-10:]}")


@pytest.mark.parametrize("state", STATES)
def test_every_control_is_reached_and_the_focus_is_seen(show: Callable[[str], Stage], state: str) -> None:
    stage = show(state)
    if state not in JUST_LOADED:
        assert stage.page.evaluate(FOCUS) != "BODY"
    before = stage.page.evaluate(CONTROLS)
    for key in ("Tab", "Shift+Tab"):
        reached, faults = walk(stage, key)
        there = {number for number, _ in stage.page.evaluate(CONTROLS)}
        missed = [name for number, name in before if number not in reached and number in there]
        assert missed == [], key
        assert faults == [], key
        # The browser's own controls are between the last control and the first.
        assert list(reached.values()).count("BODY") <= 1


@pytest.mark.parametrize("state", ["conversation", "replying", "scrolled up"])
def test_the_arrows_lead_to_each_message_and_tab_to_its_buttons(show: Callable[[str], Stage], state: str) -> None:
    stage = show(state)
    stage.page.locator("#messages .message").last.focus()
    count = stage.page.locator("#messages .message").count()
    for move in ["ArrowUp"] * 5 + ["Home", "ArrowDown", "End"]:
        stage.page.keyboard.press(move)
        stop = stage.page.evaluate(LOOK_AT_FOCUS)
        assert stop["faults"] == []
        assert stage.page.evaluate(CHOSEN), (move, count)
    stage.page.keyboard.press("Tab")
    stop = stage.page.evaluate(LOOK_AT_FOCUS)
    assert stop["name"].startswith("button What to do with this message of")
    assert stop["faults"] == []
    stage.page.keyboard.press("Enter")
    for move in ("ArrowDown", "ArrowUp", "ArrowUp", "Home", "End"):
        stage.page.keyboard.press(move)
        assert stage.page.evaluate("document.activeElement.role") == "menuitem"
        assert stage.page.evaluate(LOOK_AT_FOCUS)["faults"] == []
    stage.page.keyboard.press("Escape")
    assert stage.page.evaluate(FOCUS) == stop["name"], "the menu has given the focus back"


@pytest.mark.parametrize(
    ("opener", "opened"),
    [
        ("#members-open", "#members"),
        ("#room-share", "#share"),
        ("#account-open", "#account"),
        ("#room-settings", "dialog.settings"),
        ("#room-rename", "dialog form.rules"),
        ("#alerts-open", "dialog.settings"),
        ("#help-open", "dialog.help"),
        ("#room-close", "#confirm"),
    ],
)
def test_enter_opens_and_escape_closes_with_the_focus_where_it_was(
    show: Callable[[str], Stage], opener: str, opened: str
) -> None:
    stage = show("bans")
    stage.script.answer("invites", type="invites", invites=[])
    for _ in range(2):
        stage.page.keyboard.press("Escape")
    stage.page.locator("dialog:modal").first.wait_for(state="hidden")
    is_item = stage.page.locator(f"#room-menu {opener}").count() == 1
    stage.page.focus("#room-menu-open" if is_item else opener)
    before = stage.page.evaluate(FOCUS)
    stage.page.keyboard.press("Enter")
    if is_item:
        for _ in range(MOST_STOPS):
            if stage.page.evaluate(FOCUS) == opener:
                break
            stage.page.keyboard.press("Tab")
            assert stage.page.evaluate(FOCUS) not in ("BODY", before)
        else:
            pytest.fail(f"{opener} is not reached")
        stage.page.keyboard.press("Enter")
    stage.page.locator(opened).wait_for()
    stop = stage.page.evaluate(LOOK_AT_FOCUS)
    assert stop["number"] >= 0
    assert stop["faults"] == [], stop["name"]
    stage.page.keyboard.press("Escape")
    stage.page.locator(opened).wait_for(state="hidden")
    stage.page.wait_for_function("selector => document.activeElement.matches(selector)", arg=before)


@pytest.mark.parametrize(
    ("state", "pressed", "heir"),
    [
        ("being sent", "#pending button:has-text('Discard')", "#composer-text"),
        ("being sent", "#pending button:has-text('Edit')", "#composer-text"),
        ("replying", "#replying button", "#composer-text"),
        ("bans", ".bans li button", ".bans li button"),
        ("rules", ".invites li button", "dialog.settings *"),
    ],
)
def test_a_control_that_is_gone_after_it_was_pressed_hands_the_focus_on(
    show: Callable[[str], Stage], state: str, pressed: str, heir: str
) -> None:
    stage = show(state)
    control = stage.page.locator(pressed).first
    control.focus()
    stage.page.evaluate("window.pressed = document.activeElement")
    stage.page.keyboard.press("Enter")
    stage.page.wait_for_function(
        "heir => document.activeElement !== pressed && document.activeElement.matches(heir)", arg=heir
    )
    assert not stage.page.evaluate("pressed.isConnected && pressed.checkVisibility()")
    assert stage.page.evaluate(LOOK_AT_FOCUS)["faults"] == []
