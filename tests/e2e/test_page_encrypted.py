"""Rooms on the page that are encrypted from end to end: where the key is, and what happens without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

Open = Callable[..., BrowserClient]
STORED = "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href, document.title])"


@pytest.fixture
def ana(server: Server, browser_client: Open) -> BrowserClient:
    """The creator of an encrypted room, in it."""
    ana = browser_client()
    ana.sign_in(server.url, "Ana")
    ana.in_room(1)
    ana.page.click("#brand")
    ana.page.click("#home-options")
    ana.page.get_by_label("Encrypted from end to end").check()
    ana.page.get_by_role("button", name="Create a room", exact=True).last.click()
    ana.in_room(1)
    return ana


def link_of(one: BrowserClient) -> str:
    """Return the link that the page shares."""
    one.page.click("#room-share")
    link = one.page.locator("#share-link").input_value()
    one.page.locator("#share").get_by_role("button", name="Done").click()
    return link


def test_the_key_is_in_the_link_alone(server: Server, ana: BrowserClient, browser_client: Open) -> None:
    link = link_of(ana)
    room, _, key = link.partition("#k=")
    assert len(key) == 43
    assert ana.page.url == room
    ben = browser_client()
    requested: list[str] = []
    ben.page.on("request", lambda request: requested.append(request.url + (request.post_data or "")))
    ben.sign_in(link, "Ben")
    ben.in_room(2)
    ben.say("a canary")
    ana.sees("a canary")
    for one in (ana, ben):
        one.shows("#key-bar:has-text('only people with the whole link can read')")
        assert one.page.url == room
        assert key not in one.page.evaluate(STORED)
    assert not any(key in one for one in requested)
    ben.page.go_back()
    ben.page.go_forward()
    ben.in_room(2)
    assert ben.page.url == room, "the history has no key either"
    assert server.ask("GET", f"/api/v1/rooms/{room.rpartition('/')[2]}", token=token(ana))[1]["encrypted"] is True


def test_without_the_key_nobody_reads_or_writes_until_it_is_given(ana: BrowserClient, browser_client: Open) -> None:
    link = link_of(ana)
    room, _, key = link.partition("#k=")
    ben = browser_client()
    ben.sign_in(room, "Ben")
    ben.in_room(2)
    ben.shows("#key-bar:has-text('does not have its key')")
    ana.say("a canary")
    ben.sees("This message cannot be opened.")
    assert ben.page.is_disabled("#composer-text")
    paste = ben.page.get_by_label("The whole link of the room, or its key")
    for wrong in ("nonsense", room):
        paste.fill(wrong)
        ben.page.get_by_role("button", name="Use this key").click()
        ben.shows("#key-bar .problem:has-text('not the link of this room with its key')")
    paste.fill(f"{room}#k={'A' * 43}")
    ben.page.get_by_role("button", name="Use this key").click()
    ben.shows("#key-bar:has-text('cannot be opened with this key')")
    paste.fill(link)
    ben.page.get_by_role("button", name="Use this key").click()
    ben.sees("a canary")
    ben.shows("#key-bar:has-text('only people with the whole link can read')")
    ben.say("now I can")
    ana.sees("now I can")
    assert key not in ben.page.evaluate(STORED)


def test_a_browser_keeps_the_key_only_where_it_is_asked_to(ana: BrowserClient) -> None:
    _, _, key = link_of(ana).partition("#k=")
    ana.page.reload()
    ana.shows("#key-bar:has-text('does not have its key')")
    ana.page.get_by_label("The whole link of the room, or its key").fill(key)
    ana.page.get_by_role("button", name="Use this key").click()
    ana.page.click("#key-bar summary")
    ana.page.get_by_label("Keep the key in this browser").check()
    ana.page.reload()
    ana.in_room(1)
    ana.shows("#key-bar:has-text('only people with the whole link can read')")
    ana.page.click("#key-bar summary")
    assert ana.page.get_by_label("Keep the key in this browser").is_checked()
    ana.page.click("#account-open")
    ana.page.click("#sign-out")
    ana.page.click("#confirm-yes")
    ana.shows("#sign-in-reason:has-text('You are signed out')")
    assert key not in ana.page.evaluate(STORED)


def test_an_invite_to_an_encrypted_room_has_the_key(ana: BrowserClient, browser_client: Open) -> None:
    room, _, key = link_of(ana).partition("#k=")
    ana.page.click("#room-menu-open")
    ana.page.click("#room-settings")
    ana.page.get_by_label("Only invited people").check()
    ana.page.get_by_role("button", name="Create an invite").click()
    link = ana.page.get_by_label("Link of the invite").input_value()
    assert link.startswith(f"{room}#k={key}&invite=")
    ben = browser_client()
    ben.sign_in(link, "Ben")
    ben.in_room(2)
    ben.say("inside")
    ana.sees("inside")
    assert ben.page.url == room


def token(one: BrowserClient) -> str:
    return str(one.page.evaluate("JSON.parse(localStorage.getItem('evanesce.account')).token"))
