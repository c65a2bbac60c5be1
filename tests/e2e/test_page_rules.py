"""The rules of a room on the page: what its creator decides, and what the others vote about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

Open = Callable[..., BrowserClient]


def creator(server: Server, browser_client: Open, name: str = "Ana") -> BrowserClient:
    """Open a browser whose user creates a room and is in it."""
    ana = browser_client()
    ana.sign_in(server.url, name)
    ana.in_room(1)
    return ana


def joins(browser_client: Open, link: str, name: str, members: int) -> BrowserClient:
    one = browser_client()
    one.sign_in(link, name)
    one.in_room(members)
    return one


def chooses(one: BrowserClient, item: str) -> None:
    """Choose from the menu of the room."""
    one.page.click("#room-menu-open")
    one.page.click(item)


def about(one: BrowserClient, name: str) -> None:
    """Open the dialog about a person, from the list of those who are here."""
    one.page.click("#members-open")
    one.page.get_by_role("button", name=name).click()
    one.page.get_by_role("dialog", name=name).wait_for()


def done(one: BrowserClient) -> None:
    one.page.locator("dialog[open]").last.get_by_role("button", name="Done").click()


def test_a_creator_changes_the_rules(server: Server, browser_client: Open) -> None:
    ana = creator(server, browser_client)
    ben = joins(browser_client, ana.page.url, "Ben", 2)
    assert ben.page.locator("#room-settings").is_hidden()
    chooses(ana, "#room-settings")
    ana.page.get_by_label("Messages live for").select_option("300")
    ben.shows(".notice:has-text('messages live for 5 minutes')")
    ana.page.get_by_label("Locked").check()
    ben.shows(".notice:has-text('locked: nobody new')")
    late = browser_client()
    late.sign_in(ana.page.url, "Late")
    late.shows("#stopped-text:has-text('locked')")
    ana.page.get_by_label("Locked").uncheck()
    ben.shows(".notice:has-text('not locked any more')")
    ana.page.get_by_label("Only invited people").check()
    ben.shows(".notice:has-text('only invited people may join')")
    done(ana)
    assert ana.page.evaluate("document.activeElement.id") == "room-menu-open"
    ben.page.click("#members-open")
    assert ben.page.text_content("#room-facts") == "Messages live for 5 minutes. Only invited people may join."


def test_an_invite_admits_so_many_people_and_is_revoked(server: Server, browser_client: Open) -> None:
    ana = creator(server, browser_client)
    room = ana.page.url
    chooses(ana, "#room-settings")
    ana.page.get_by_label("Only invited people").check()
    ana.page.get_by_label("People", exact=True).fill("2")
    ana.page.get_by_role("button", name="Create an invite").click()
    link = ana.page.get_by_label("Link of the invite").input_value()
    assert link.startswith(f"{room}#invite=")
    ana.page.locator("dialog.settings .code svg").wait_for()
    ana.page.get_by_text("2 of 2 places left").wait_for()
    stranger = browser_client()
    stranger.sign_in(room, "Stranger")
    stranger.shows("#stopped-text:has-text('Only invited people')")
    ben = joins(browser_client, link, "Ben", 2)
    assert ben.page.url == room
    done(ana)
    chooses(ana, "#room-settings")
    ana.page.get_by_text("1 of 2 places left").wait_for()
    ana.page.get_by_role("button", name="Revoke").click()
    ana.page.get_by_text("places left").wait_for(state="detached")
    cleo = browser_client()
    cleo.sign_in(link, "Cleo")
    cleo.shows("#stopped-text:has-text('expired or is used up')")


def test_a_creator_mutes_removes_and_bans(server: Server, browser_client: Open) -> None:
    ana = creator(server, browser_client)
    ben = joins(browser_client, ana.page.url, "Ben", 2)
    about(ana, "Ben")
    ana.page.get_by_role("button", name="Mute").click()
    ben.shows("#composer-problem:has-text('You may not write in this room for 5 minutes.')")
    assert ben.page.is_disabled("#composer-send")
    done(ana)
    ana.shows(".notice:has-text('may not write for 5 minutes')")
    about(ana, "Ben")
    ana.page.get_by_role("button", name="Let them write again").click()
    ben.shows(".notice:has-text('You may write again')")
    ben.say("thank you")
    ana.sees("thank you")
    done(ana)
    about(ana, "Ben")
    ana.page.get_by_role("button", name="Remove").click()
    ben.shows("#stopped-text:has-text('You can come back in 60 minutes')")
    ana.in_room(1)
    done(ana)
    chooses(ana, "#room-settings")
    ana.page.get_by_role("button", name="Banned people").click()
    ana.page.get_by_role("button", name="Unban Ben").click()
    ana.page.get_by_text("Nobody is banned.").wait_for()
    ben.page.reload()
    ben.in_room(2)


def test_the_others_vote_while_the_creator_is_away(server: Server, browser_client: Open) -> None:
    link = server.open_room()["deepLink"]
    ana, ben, cleo = (joins(browser_client, link, name, at) for at, name in enumerate(("Ana", "Ben", "Cleo"), 1))
    ana.in_room(3)
    about(ana, "Cleo")
    ana.page.get_by_role("button", name="Vote to remove").click()
    done(ana)
    ana.shows(".ballot:has-text('1 of 2 votes')")
    for one in (ben, cleo):
        one.shows(".ballot:has-text('Cleo')")
    assert cleo.page.locator(".ballot button").is_hidden()
    dan = joins(browser_client, link, "Dan", 4)
    dan.shows(".ballot:has-text('Cleo')")
    dan.page.click(".ballot button")
    cleo.shows("#stopped-text:has-text('have voted for it')")
    for one in (ana, ben, dan):
        one.in_room(3)
        one.page.locator("#ballots").wait_for(state="hidden")
        one.shows(".notice:has-text('was removed')")


def test_a_vote_begins_at_a_message(server: Server, browser_client: Open) -> None:
    link = server.open_room()["deepLink"]
    ana, ben, cleo = (joins(browser_client, link, name, at) for at, name in enumerate(("Ana", "Ben", "Cleo"), 1))
    cleo.say("something rude")
    ben.sees("something rude")
    ben.page.locator("#messages .message").focus()
    ben.page.keyboard.press("Enter")
    ben.page.get_by_role("menuitem", name="Vote to remove Cleo").click()
    ben.page.get_by_role("dialog").get_by_role("button", name="Vote to remove").click()
    for one in (ana, ben, cleo):
        one.shows(".ballot:has-text('Remove Cleo? 1 of 2 votes')".replace("Cleo?", "\u2068Cleo\u2069?"))


def test_a_room_with_rules_from_the_start(server: Server, browser_client: Open) -> None:
    ana = browser_client()
    ana.sign_in(server.url, "Ana")
    ana.in_room(1)
    ana.page.click("#brand")
    ana.page.click("#home-options")
    ana.page.get_by_label("Messages live for").select_option("10")
    ana.page.get_by_label("Only invited people").check()
    ana.page.get_by_label("Locked").check()
    ana.page.get_by_role("button", name="Create a room", exact=True).last.click()
    ana.in_room(1)
    ana.page.click("#members-open")
    facts = "Messages live for 10 seconds. The room is locked. Only invited people may join."
    assert ana.page.text_content("#room-facts") == facts


def test_a_name_for_a_room_is_the_users_alone(server: Server, browser_client: Open) -> None:
    ana = creator(server, browser_client)
    ben = joins(browser_client, ana.page.url, "Ben", 2)
    chooses(ana, "#room-rename")
    ana.page.get_by_label("Your name for this room").fill("Friday evening")
    ana.page.keyboard.press("Enter")
    ana.shows("#room-name:has-text('Friday evening')")
    assert ana.page.title().startswith("Room"), "no history keeps it"
    letters = ben.page.url.rpartition("/")[2][:4]
    assert ben.page.inner_text("#room-name").replace("\u2068", "").replace("\u2069", "") == f"Room {letters}"
    ana.page.click("#brand")
    ana.shows("#home-rooms a:has-text('Friday evening')")
    ana.page.click("#account-open")
    ana.page.click("#sign-out")
    ana.page.click("#confirm-yes")
    ana.shows("#sign-in-reason:has-text('You are signed out')")
    assert ana.page.evaluate("localStorage.length") == 0


def test_what_is_open_closes_with_the_room(server: Server, browser_client: Open) -> None:
    ana = creator(server, browser_client)
    ben = joins(browser_client, ana.page.url, "Ben", 2)
    ben.page.click("#members-open")
    assert ben.page.locator("#members-list button").count() == 0, "nobody can do anything about anybody"
    ben.page.keyboard.press("Control+/")
    ben.page.get_by_role("dialog", name="Keyboard and writing").wait_for()
    chooses(ana, "#room-close")
    ana.page.click("#confirm-yes")
    for one in (ana, ben):
        one.shows("#stopped-title:has-text('This room is closed')")
        assert one.page.locator("dialog[open]").count() == 0
    assert ben.page.evaluate("document.activeElement.id") == "stopped-title"
