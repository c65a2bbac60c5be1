"""What the page shows when it does not load, has stopped, or gets more than a person can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from evanesce.model import timestamp
from tests.e2e.browsers import expect_description
from tests.e2e.running import Server
from tests.e2e.test_page_protocol import BANNERS, NOW, OTHER, ROOM, Script, joined, message, script

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

__all__ = ["joined", "script"]

FOCUSED = "document.activeElement.id"


@pytest.mark.parametrize(("module", "section"), [("chat", "home"), ("room-view", "room")])
def test_a_page_without_one_of_its_modules_says_so(
    script: Script, shared_server: Server, module: str, section: str
) -> None:
    address = shared_server.url + ("" if section == "home" else f"/r/{ROOM}")
    script.page.route(f"**/static/*/{module}.js", lambda route: route.abort())
    script.page.goto(address)
    script.shows("#loading:has-text('Reload')")
    shown = script.page.locator("main > section:visible").evaluate_all("all => all.map(one => one.id)")
    assert shown == ["loading"]
    told = script.page.inner_text("#loading")
    assert "Die Seite neu laden" in told or section == "room", "nobody knows yet which language the page has"
    script.page.unroute_all()
    script.page.click("#loading a")
    script.shows(f"#{section}")
    assert script.page.locator("#loading").is_hidden()


@pytest.mark.parametrize(
    ("language", "title", "text", "reload"),
    [
        ("en-GB", "The page has not loaded completely", "Check your connection.", "Reload the page"),
        ("de-AT", "Die Seite ist nicht vollständig geladen", "Prüfe deine Verbindung.", "Die Seite neu laden"),
    ],
)
def test_a_room_without_a_module_has_its_title_and_the_focus(
    script: Script, shared_server: Server, language: str, title: str, text: str, reload: str
) -> None:
    script.page.add_init_script(f"Object.defineProperty(navigator, 'languages', {{ value: ['{language}'] }})")
    script.page.route("**/static/*/room-view.js", lambda route: route.abort())
    script.page.goto(f"{shared_server.url}/r/{ROOM}")
    script.page.locator("#loading-title:focus").wait_for()
    assert script.page.title() == f"{title} \N{EN DASH} Evanesce"
    heading = script.page.get_by_role("heading", name=title, exact=True)
    expect_description(heading, text)
    assert script.page.locator("#loading").inner_text().split("\n\n") == [title, f"{text} {reload}"]


def test_a_browser_without_scripts_is_told_in_every_language(browser: Browser, shared_server: Server) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(shared_server.url)
        told = page.locator("noscript p:visible")
        assert told.evaluate_all("all => all.map(one => one.lang)") == ["", "de", "ar"]
        assert all("JavaScript" in text for text in told.all_inner_texts())
        assert page.locator("#loading").is_hidden()


def test_a_stopped_page_has_its_title_and_the_focus(joined: Script, shared_server: Server) -> None:
    joined.tell({"type": "room_closed", "reason": "Its creator closed it."})
    joined.shows("#stopped")
    assert joined.page.title() == "This room is closed \N{EN DASH} Evanesce"
    assert joined.page.evaluate(FOCUSED) == "stopped-title"
    title = joined.page.get_by_role("heading", name="This room is closed")
    expect_description(title, "Its creator closed it.")
    joined.page.goto(f"{shared_server.url}/r/nonsense")
    joined.shows("#stopped")
    assert joined.page.title() == "This room does not exist \N{EN DASH} Evanesce"
    assert joined.page.evaluate(FOCUSED) == "stopped-title"


def test_signing_in_again_has_its_title(joined: Script) -> None:
    joined.lines[-1].close(code=4401)
    joined.shows("#sign-in")
    assert joined.page.title() == "Sign in \N{EN DASH} Evanesce"
    told = joined.page.get_by_role("status").filter(visible=True)
    assert told.all_text_contents() == ["Your sign-in has expired. Sign in again."]


def test_the_reason_of_a_goodbye_is_shown_while_the_page_waits(joined: Script) -> None:
    why = {"type": "goodbye", "code": 1012, "reason": "The server restarts.", "reconnect": True, "reconnectAfter": 60}
    joined.tell(why)
    joined.lines[-1].close(code=1012)
    joined.shows("#banner:has-text('No connection. The server restarts. Trying again in')")
    joined.page.click("#banner-retry")
    joined.asked("room", 2)
    joined.page.locator("#banner").wait_for(state="hidden")


def test_regular_expressions_keep_no_message(joined: Script) -> None:
    joined.page.fill("#composer-text", "a secret \ud800 word")
    kept = joined.page.evaluate(
        """() => {
            /nothing/.test("nothing");
            document.getElementById("composer").requestSubmit();
            return RegExp.input;
        }"""
    )
    assert "secret" not in kept
    assert joined.asked("send")["content"] == "a secret \ufffd word"


@pytest.mark.parametrize("width", [320, 1280])
def test_a_message_of_line_breaks_is_not_longer_than_the_window(joined: Script, width: int) -> None:
    joined.page.set_viewport_size({"width": width, "height": 600})
    joined.tell(message(1, "\n" * 4000 + "the end"), message(2, "next"))
    joined.reads("next")
    assert joined.page.locator("#messages .text").first.evaluate("one => one.offsetHeight") < 600
    assert joined.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_flood_leaves_the_page_usable(joined: Script) -> None:
    for first in range(0, 3000, 100):
        joined.tell(*(message(number, f"text {number}") for number in range(first, first + 100)))
    joined.notes("The oldest messages were removed")
    members = (
        {"type": "member_joined", "userId": OTHER, "displayName": f"<b>{n}", "memberCount": n} for n in range(300)
    )
    joined.tell(*members)
    joined.reads("text 2999")
    joined.notes("300 people joined")
    shown = joined.contents()
    assert len(shown) <= 1000
    assert shown[-1] == "text 2999"
    assert joined.page.locator(".notice").count() <= 50
    joined.page.fill("#composer-text", "still here")
    joined.page.press("#composer-text", "Enter")
    assert joined.asked("send")["content"] == "still here"


def test_times_that_are_far_away(joined: Script) -> None:
    far = {"expiresAt": "9999-12-31T23:59:59.000Z"}
    joined.tell(message(1, "long") | far, message(2, "short"))
    joined.reads("long")
    joined.answer("ping", serverTime=timestamp(NOW + 120_000))
    joined.page.evaluate("dispatchEvent(new Event('online'))")
    joined.page.locator("#messages .text").get_by_text("short").wait_for(state="detached")
    assert joined.contents() == ["long"]


def test_a_draft_is_of_one_room(joined: Script) -> None:
    joined.page.fill("#composer-text", "for this room alone")
    joined.page.evaluate(f"history.pushState(null, '', '/r/{OTHER}'); dispatchEvent(new PopStateEvent('popstate'))")
    assert joined.asked("join", 2)["roomId"] == OTHER
    assert joined.page.input_value("#composer-text") == ""


def test_a_draft_is_of_one_person(joined: Script, shared_server: Server) -> None:
    joined.page.fill("#composer-text", "of this person alone")
    other = joined.page.context.new_page()
    other.goto(f"{shared_server.url}/healthz")
    changed = joined.account | {"userId": OTHER, "token": "another"}
    other.evaluate("kept => localStorage.setItem('evanesce.account', kept)", json.dumps(changed))
    joined.asked("join", 2)
    assert joined.page.input_value("#composer-text") == ""


def test_a_dead_link_is_told_after_a_silence(joined: Script) -> None:
    """The server is asked after 10 s of silence, and the page says so 5 s later."""
    joined.answers.append(("ping", lambda line, command: None))
    joined.page.evaluate(BANNERS)
    joined.asked("ping")
    joined.page.wait_for_function("() => window.banners.some(text => text.startsWith('No connection'))")
    joined.asked("join", 2)
    joined.page.locator("#banner").wait_for(state="hidden")


def test_a_link_that_is_lost_is_told_at_once(joined: Script) -> None:
    held: list[Callable[[], None]] = []
    joined.answers.append(("ping", lambda line, command: held.append(lambda: joined.reply(line, command))))
    told = "dispatchEvent(new Event('offline')), document.querySelector('#banner-text').textContent"
    assert joined.page.evaluate(told) == "There is no network."
    joined.asked("ping")
    held[0]()
    joined.page.locator("#banner").wait_for(state="hidden")
    assert len(joined.lines) == 1, "the server was there"
