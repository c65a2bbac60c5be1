"""The states of the page, each as a function that brings a page into it. A scripted server speaks to the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from evanesce.client.connection import Fields
from evanesce.model import timestamp
from tests.e2e.browsers import without_ways
from tests.e2e.test_page_protocol import NOW, OTHER, ROOM, Script, message
from tests.page.rule_states import RULE_STATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

OTHERS = {
    "Ben": OTHER,
    "Cleo Ito": "00000000-0000-4000-8000-000000000003",
    "نور": "00000000-0000-4000-8000-0000000000a7",
}
LIFE = 60_000


class Stage:
    """A page and the scripted server behind it, at one address."""

    def __init__(self, page: Page, account: Fields, url: str) -> None:
        self.page = page
        self.account = account
        self.url = url
        self.script = Script(page, account)

    def sign_out(self) -> None:
        """Forget the account: the page is opened by somebody new."""
        self.page.evaluate("localStorage.clear()")

    def room(self, members: int = 3) -> None:
        """Open the room, with so many people in it."""
        people = [{"userId": self.account["userId"], "displayName": "Ana"}]
        people += [{"userId": user, "displayName": name} for name, user in OTHERS.items()][: members - 1]
        self.script.answer("join", members=people, memberCount=members)
        self.page.goto(f"{self.url}/r/{ROOM}")
        self.script.asked("room")
        self.page.locator("#banner").wait_for(state="hidden")

    def say(self, number: int, name: str, text: str, left: float = 0.9) -> None:
        """Let somebody have written a message of which this part of its life is left."""
        sender = self.account["userId"] if name == "Ana" else OTHERS[name]
        born = NOW - round(LIFE * (1 - left))
        self.script.tell(
            message(number, text, sender)
            | {"senderName": name, "createdAt": timestamp(born), "expiresAt": timestamp(born + LIFE)}
        )


def first_visit(stage: Stage) -> None:
    stage.sign_out()
    stage.page.goto(stage.url)
    stage.page.locator("#sign-in-name").wait_for()
    stage.page.locator("#demo-messages .message").nth(1).wait_for()


def invited(stage: Stage) -> None:
    stage.sign_out()
    stage.page.goto(f"{stage.url}/r/{ROOM}")
    stage.page.locator("#sign-in-name").wait_for()
    stage.page.locator("#demo-messages .message").nth(1).wait_for()


def no_way_to_sign_in(stage: Stage) -> None:
    stage.sign_out()
    stage.page.route(f"{stage.url}/", without_ways)
    stage.page.goto(stage.url)
    stage.page.locator("#sign-in-methods .problem").wait_for()


def rooms(stage: Stage) -> None:
    described = [
        {
            "roomId": f"00000000-0000-4000-8000-00000000000{number}",
            "createdBy": stage.account["userId"],
            "createdAt": timestamp(NOW - 90_000_000 * number),
            "deepLink": stage.url,
            "active": number % 2 == 1,
            "memberCount": number % 2 * 1234,
        }
        for number in range(1, 4)
    ]
    stage.page.route("**/api/v1/rooms", lambda route: route.fulfill(json={"rooms": described, "next": "more"}))
    stage.page.goto(stage.url)
    stage.page.locator("#home-rooms li").nth(2).wait_for()


def no_rooms(stage: Stage) -> None:
    stage.page.route("**/api/v1/rooms", lambda route: route.fulfill(json={"rooms": []}))
    stage.page.goto(stage.url)
    stage.page.locator("#home-create:enabled").wait_for()


def new_room(stage: Stage) -> None:
    stage.room(members=1)
    stage.page.locator("#empty-share svg").wait_for()


def quiet_room(stage: Stage) -> None:
    stage.room()


def conversation(stage: Stage) -> None:
    stage.room(members=4)
    for number in range(12):
        person = {"userId": f"{ROOM[:-2]}{number + 20}", "displayName": f"Guest {number}", "memberCount": 5 + number}
        stage.script.tell({"type": "member_joined"} | person)
    stage.say(1, "Ben", "Nearly gone: two steps paler, and still readable.", 0.04)
    stage.say(2, "Ben", "One step paler.", 0.1)
    stage.say(3, "Ana", "Half of its life is over, at full contrast.", 0.5)
    stage.say(4, "نور", "مرحبا! الرسالة تختفي بعد دقيقة.", 0.6)
    stage.say(5, "Cleo Ito", "Where do we meet?\n  By the old boats, at the lake.", 0.8)
    stage.say(6, "Cleo Ito", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", 0.9)
    stage.say(7, "Ana", "Good.", 0.97)
    stage.page.locator("#messages .text").get_by_text("Good.", exact=True).wait_for()


def message_focused(stage: Stage) -> None:
    conversation(stage)
    stage.page.locator(".message.own").last.focus()


def long_messages(stage: Stage) -> None:
    stage.room()
    stage.say(1, "Ben", "\n" * 3999 + "the end")
    stage.say(2, "Ben", "word " * 800)
    stage.say(3, "Ana", "next")
    stage.page.locator("#messages .text").get_by_text("next", exact=True).wait_for()


def scrolled_up(stage: Stage) -> None:
    stage.room()
    for number in range(40):
        stage.say(number + 1, "Ben" if number % 5 else "Ana", f"Message {number}")
    stage.page.locator("#messages .text").get_by_text("Message 39").wait_for()
    stage.page.locator("#scroll").evaluate("one => { one.scrollTop = 200; }")
    stage.page.locator("#jump").wait_for()
    before = stage.page.text_content("#jump-text")
    stage.say(50, "Ben", "You do not see this.")
    stage.say(51, "Ben", "Nor this.")
    stage.page.wait_for_function("before => document.querySelector('#jump-text').textContent !== before", arg=before)


def being_sent(stage: Stage) -> None:
    stage.room()
    stage.script.answer("send", type="error", code="rejected", message="Not that word.", retry=False)
    stage.page.fill("#composer-text", "A word that the server refuses")
    stage.page.press("#composer-text", "Enter")
    stage.page.locator("#pending .why").wait_for()
    stage.script.answers.append(("send", lambda line, command: None))
    stage.page.fill("#composer-text", "On its way")
    stage.page.press("#composer-text", "Enter")
    stage.page.locator("#pending .message").nth(1).wait_for()


def too_long(stage: Stage) -> None:
    stage.room()
    stage.page.fill("#composer-text", "é" * 2060)
    stage.page.locator("#composer-problem").wait_for()


def disconnected(stage: Stage) -> None:
    conversation(stage)
    why = {"type": "goodbye", "code": 1012, "reason": "The server restarts.", "reconnect": True, "reconnectAfter": 60}
    stage.script.tell(why)
    stage.script.lines[-1].close(code=1012)
    stage.page.locator("#banner-retry").wait_for()


def menu(stage: Stage) -> None:
    conversation(stage)
    stage.page.click("#room-menu-open")
    stage.page.locator("#room-leave").wait_for()


def people(stage: Stage) -> None:
    stage.room(members=4)
    stage.page.click("#members-open")
    stage.page.locator("#members-list li").nth(3).wait_for()


def share(stage: Stage) -> None:
    conversation(stage)
    stage.page.click("#room-share")
    stage.page.locator("#dialog-share svg").wait_for()


def account(stage: Stage) -> None:
    no_rooms(stage)
    stage.page.click("#account-open")
    stage.page.locator("#account-name").wait_for()


def confirmation(stage: Stage) -> None:
    account(stage)
    stage.page.click("#delete-account")
    stage.page.locator("#confirm-yes").wait_for()


def closed(stage: Stage) -> None:
    stage.room()
    stage.script.tell({"type": "room_closed", "reason": "Its creator closed it."})
    stage.page.locator("#stopped").wait_for()


def refused(stage: Stage) -> None:
    stage.script.answer("join", type="error", code="room_full", message="Full.", retry=False)
    stage.page.goto(f"{stage.url}/r/{ROOM}")
    stage.page.locator("#stopped-retry").wait_for()


def signed_out(stage: Stage) -> None:
    stage.room()
    stage.script.lines[-1].close(code=4401)
    stage.page.locator("#sign-in-name").wait_for()


def not_loaded(stage: Stage) -> None:
    stage.page.route("**/static/*/room-view.js", lambda route: route.abort())
    stage.page.goto(f"{stage.url}/r/{ROOM}")
    stage.page.locator("#loading").wait_for()


def error_page(stage: Stage) -> None:
    stage.page.goto(f"{stage.url}/nowhere")
    stage.page.locator("h1").wait_for()


def offline_page(stage: Stage) -> None:
    stage.page.goto(stage.url)
    script = stage.page.locator("script[type=module]").first.evaluate("one => one.src")
    stage.page.goto(f"{script.rpartition('/')[0]}/offline.html")
    stage.page.locator(".offline:visible").wait_for()


STATES: dict[str, Callable[[Stage], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        first_visit,
        invited,
        no_way_to_sign_in,
        no_rooms,
        rooms,
        new_room,
        quiet_room,
        conversation,
        message_focused,
        long_messages,
        scrolled_up,
        being_sent,
        too_long,
        disconnected,
        menu,
        people,
        share,
        account,
        confirmation,
        closed,
        refused,
        signed_out,
        not_loaded,
        error_page,
        offline_page,
        *RULE_STATES,
    )
}
"""All states of the page by name."""
