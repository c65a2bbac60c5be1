"""The page in a real browser, and two terminals on the same deep link. Playwright blocks: no test here is Trio's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.clients import conversation
from tests.e2e.running import Server
from tests.e2e.terminals import Terminal
from tests.e2e.test_page_protocol import BANNERS

pytestmark = pytest.mark.slow

UNICODE = [line for line in conversation() if any(ord(character) > 0x7F for character in line)][::7]


def test_two_terminals_and_a_browser_talk(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    with Terminal(link, "Ana") as ana, Terminal(link, "Бен") as ben:
        ana.sees("you are in the room")
        ben.sees("you are in the room")
        nour = browser_client(phone=True)
        nour.sign_in(link, "نور")
        nour.in_room(3)
        ana.sees("* نور joined")
        for number, text in enumerate(UNICODE):
            if number % 3 == 0:
                ana.type(text)
            elif number % 3 == 1:
                ben.type(text)
            else:
                nour.say(text)
            sender = ("Ana", "Бен", "نور")[number % 3]
            assert ana.sees(f"{sender}: {text}") == f"{sender}: {text}"
            assert ben.sees(f"{sender}: {text}") == f"{sender}: {text}"
            nour.sees(text)
        assert nour.messages() == UNICODE

        ana.type("/members")
        assert "3 people: Ana, Бен, نور" in ana.sees("* 3 people")
        ana.type("to be taken back")
        nour.sees("to be taken back")
        ana.type("/unsend")
        nour.sees_no("to be taken back")
        ben.sees("* a message was taken back")
        ben.type("/quit")
        assert ben.ends() == (0, "")
        nour.in_room(2)
        ana.hang_up()
        assert ana.ends() == (0, "")
        nour.in_room(1)


def test_what_is_written_is_never_markup(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    ana, ben = browser_client(), browser_client()
    ana.sign_in(link, "<b>Ana</b>")
    ben.sign_in(link, "Ben")
    ben.in_room(2)
    text = '<img src=x onerror="document.title=1"><script>document.title=2</script>\n  <b>two  lines</b> &amp;'
    ana.say(text)
    ben.page.locator(".message").wait_for()
    assert ben.messages() == [text]
    assert ben.page.locator(".message .name").text_content() == "<b>Ana</b>"
    assert ben.page.locator(".message img, .message b, .message script").count() == 0
    assert ben.page.title().startswith("Room")


def test_a_room_is_opened_shared_and_closed(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ana, ben = browser_client(), browser_client(phone=True)
    ana.sign_in(server.url, "Ana")  # somebody new at the start page gets a first room
    ana.in_room(1)
    assert ana.page.url != f"{server.url}/"
    ana.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ana.page.click("#room-share")
    ana.page.click("#dialog-share .copy")
    ana.shows("#dialog-share .copy:has-text('Copied')")
    link = ana.page.evaluate("navigator.clipboard.readText()")
    assert link == ana.page.url
    assert ana.page.input_value("#share-link") == link
    ana.page.keyboard.press("Escape")
    ben.sign_in(link, "Ben")
    ben.in_room(2)
    ana.shows(".notice:has-text('joined')")
    ben.page.type("#composer-text", "I am ty")
    ana.shows("#typing:has-text('is typing')")
    ben.page.press("#composer-text", "Enter")
    ana.sees("I am ty")
    assert ana.page.text_content("#typing") == ""
    ana.page.click("#members-open")
    assert ana.page.locator("#members-list bdi").all_text_contents() == ["Ana (you)", "Ben"]
    ana.page.locator("#members").get_by_role("button", name="Done").click()

    ben.page.tap("#messages .own .text")
    ben.page.get_by_role("button", name="What to do").click()
    ben.page.get_by_role("menuitem", name="Unsend").click()
    ana.sees_no("I am ty")
    ben.page.click("#room-menu-open")
    ben.shows("#room-leave")
    assert ben.page.locator("#room-close").is_hidden()
    ana.page.click("#room-menu-open")
    ana.page.click("#room-close")
    ana.page.evaluate(BANNERS)
    ana.page.click("#confirm-yes")
    for one in (ana, ben):
        one.shows("#stopped-title:has-text('This room is closed')")
    assert ana.page.evaluate("banners") == [], "it was closed on purpose"
    ana.page.click("#stopped a")
    ana.shows("#home")
    ben.page.reload()
    ben.shows("#stopped-title:has-text('You cannot join this room')")


@pytest.mark.parametrize("wrong", [7_200_000, -3_600_000], ids=["two hours ahead", "an hour behind"])
def test_messages_fade_and_are_gone(
    serve: Callable[..., Server], browser_client: Callable[..., BrowserClient], wrong: int
) -> None:
    server = serve("messages.ttl=10")
    link = server.open_room()["deepLink"]
    ana, ben = browser_client(), browser_client()
    for one, name in ((ana, "Ana"), (ben, "Ben")):
        # These computers' own clocks are hours wrong: the page must not care.
        one.page.add_init_script(f"const now = Date.now; Date.now = () => now() + {wrong}")
        one.sign_in(link, name)
        one.in_room(2 if one is ben else 1)
    ana.say("soon gone")
    for one in (ana, ben):
        one.sees("soon gone")
    width = "one => one.getBoundingClientRect().width"
    seen = [ben.page.locator("#messages .wick").evaluate(width)]
    for _ in range(3):
        ben.page.wait_for_function(
            "width => document.querySelector('#messages .wick').getBoundingClientRect().width < width", arg=seen[-1]
        )
        seen.append(ben.page.locator("#messages .wick").evaluate(width))
    assert seen == sorted(set(seen), reverse=True), "it burns down"
    left = ben.page.locator("#messages .left").text_content()
    assert left is not None
    assert left.endswith("left"), "and says how long it has left"
    for one in (ana, ben):
        one.sees_no("soon gone")
        assert "soon gone" not in one.page.content()


def test_signing_out_and_in_again(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    ana, ben = browser_client(), browser_client()
    ben.sign_in(link, "Ben")
    ben.in_room(1)
    ana.sign_in(link, "Ana")
    ana.in_room(2)
    kept = ana.page.evaluate("JSON.parse(localStorage.getItem('evanesce.account'))")
    assert kept["displayName"] == "Ana"
    assert kept["token"] not in ana.page.url

    ana.page.reload()
    ana.in_room(2)
    ana.page.click("#account-open")
    ana.page.fill("#account-name", "Ána")
    ana.page.click("#account-form button")
    ben.shows(".notice:has-text('is now')")
    ana.shows("#account-label:has-text('Ána')")

    ana.page.click("#account-open")
    ana.page.click("#sign-out")
    ana.shows("#confirm-text:has-text('account of a guest')")
    ana.page.click("#confirm button:has-text('Cancel')")
    assert server.ask("GET", "/api/v1/me", token=kept["token"])[0] == 200
    ana.page.click("#sign-out")
    ana.page.click("#confirm-yes")
    ana.shows("#sign-in")
    ben.in_room(1)
    assert ana.page.evaluate("localStorage.length") == 0
    assert server.ask("GET", "/api/v1/me", token=kept["token"])[0] == 401

    ana.sign_in(link, "Ana again")
    ana.in_room(2)
    kept = ana.page.evaluate("JSON.parse(localStorage.getItem('evanesce.account'))")
    ana.page.click("#account-open")
    ana.page.click("#delete-account")
    ana.page.click("#confirm-yes")
    ana.shows("#sign-in")
    assert server.ask("GET", "/api/v1/me", token=kept["token"])[0] == 401


@pytest.mark.parametrize(
    ("locale", "button", "warning"),
    [("de-AT", "Als Gast weiter", "Gastkonto"), ("ar-EG", "المتابعة كضيف", "حساب ضيف")],
)
def test_a_guest_is_warned_in_the_language_of_the_page(
    server: Server, browser_client: Callable[..., BrowserClient], locale: str, button: str, warning: str
) -> None:
    ana = browser_client(locale=locale)
    ana.page.goto(server.open_room()["deepLink"])
    ana.page.fill("#sign-in-name", "Ana")
    ana.page.get_by_role("button", name=button).click()
    ana.page.click("#account-open")
    ana.page.click("#sign-out")
    ana.shows(f"#confirm-text:has-text('{warning}')")


def test_a_sign_in_that_is_worth_nothing_any_more(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    ana = browser_client()
    ana.sign_in(link, "Ana")
    ana.in_room(1)
    token = ana.page.evaluate("JSON.parse(localStorage.getItem('evanesce.account')).token")
    assert server.ask("DELETE", "/api/v1/session", token=token)[0] == 204
    ana.shows("#sign-in-reason:has-text('expired')")
    ana.page.fill("#sign-in-name", "Ana again")
    ana.page.press("#sign-in-name", "Enter")
    ana.in_room(1)


def test_a_restarted_server(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    nour = browser_client()
    with Terminal(link, "Ana") as ana:
        ana.sees("you are in the room")
        nour.sign_in(link, "Nour")
        nour.in_room(2)
        server.stop()
        nour.shows("#banner:has-text('No connection')")
        ana.sees("Reconnecting")
        nour.say("written while there was no server")
        nour.shows("#pending .message")
        server.start()
        nour.in_room(2)
        nour.sees("written while there was no server")
        ana.sees("Nour: written while there was no server")
        ana.type("here again")
        nour.sees("here again")
        nour.shows(".notice:has-text('may have missed')")
        nour.page.locator("#banner").wait_for(state="hidden")
        assert nour.page.locator("#pending .message").count() == 0
        ana.interrupt()
        assert ana.ends() == (0, "")
    # The browser itself says in its console that it found nobody there.
    nour.expect("net::ERR_CONNECTION")


def test_two_browsers_and_a_terminal_through_a_restart(
    serve_shared: Callable[..., Server], browser_client: Callable[..., BrowserClient]
) -> None:
    """Nothing is lost and nothing comes twice: neither what was there, nor what was written during the outage."""
    server = serve_shared("messages.ttl=600", "limits.messages_per_second=100000", "limits.burst=100000")
    link = server.open_room()["deepLink"]
    nour, ben = browser_client(), browser_client(phone=True)
    with Terminal(link, "Ana") as ana:
        ana.sees("you are in the room")
        nour.sign_in(link, "Nour")
        ben.sign_in(link, "Ben")
        ben.in_room(3)
        nour.in_room(3)
        expected: list[str] = []

        def talk(when: str) -> None:
            for name, write in (("Ana", ana.type), ("Nour", nour.say), ("Ben", ben.say)):
                expected.append(f"{name} {when}")
                write(expected[-1])

        def all_see() -> None:
            for text in expected:
                nour.sees(text)
                ben.sees(text)
                ana.sees(f": {text}")

        talk("before")
        all_see()
        server.stop()
        for one in (nour, ben):
            one.shows("#banner:has-text('No connection')")
        ana.sees("Reconnecting")
        talk("during")
        server.start()
        all_see()
        talk("after")
        all_see()
        for one in (nour, ben):
            one.in_room(3)
            one.page.locator("#banner").wait_for(state="hidden")
            assert sorted(one.messages()) == sorted(expected)
            assert one.page.locator("#pending .message").count() == 0
        heard = [line.partition(": ")[2] for line in ana.lines]
        assert sorted(text for text in heard if text in expected) == sorted(expected)
        ana.type("/quit")
        assert ana.ends() == (0, "")
    for one in (nour, ben):
        # The browser itself says in its console that it found nobody there.
        one.expect("net::ERR_CONNECTION")


def test_coming_back_with_what_was_missed(
    serve: Callable[..., Server], browser_client: Callable[..., BrowserClient]
) -> None:
    server = serve("messages.ttl=4")
    link = server.open_room()["deepLink"]
    nour = browser_client()
    nour.sign_in(link, "Nour")
    nour.in_room(1)
    with Terminal(link, "Ana") as ana:
        ana.sees("you are in the room")
        ana.type("heard")
        nour.sees("heard")
        nour.context.set_offline(True)
        nour.page.evaluate("window.dispatchEvent(new Event('online'))")
        ana.type("faded meanwhile")
        ana.sees("Ana: faded meanwhile")
        nour.context.set_offline(False)
        nour.sees("faded meanwhile")
        ana.type("/quit")
        assert ana.ends() == (0, "")


def test_keys(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = server.open_room()["deepLink"]
    ana = browser_client()
    ana.sign_in(link, "Ana")
    ana.in_room(1)
    ana.page.focus("#composer-text")
    ana.page.keyboard.type("one")
    ana.page.keyboard.press("Shift+Enter")
    ana.page.keyboard.type("two")
    # An input method that is composing takes Enter for itself.
    ana.page.locator("#composer-text").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    ana.page.locator("#composer-text").dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    assert ana.page.input_value("#composer-text") == "one\ntwo"
    ana.page.keyboard.press("Enter")
    ana.page.locator("#messages .message").wait_for()
    assert ana.messages() == ["one\ntwo"]
    ana.page.keyboard.press("Enter")
    ana.say("   ")
    ana.page.fill("#composer-text", "é" * 2049)
    ana.shows("#composer-problem:has-text('2 bytes too long')")
    assert ana.page.locator("#composer-send").is_disabled()
    ana.page.keyboard.press("Enter")
    assert ana.messages() == ["one\ntwo"]


def test_friendly_words(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ana = browser_client()
    ana.sign_in(f"{server.url}/r/00000000-0000-4000-8000-000000000000", "Ana")
    ana.shows("#stopped-text:has-text('does not exist')")
    ana.page.goto(f"{server.url}/r/nonsense")
    ana.shows("#stopped-title:has-text('does not exist')")
    ana.page.goto(server.url)
    ana.shows("#home")
