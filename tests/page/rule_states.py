"""The states of the page in which one looks at the rules of a room, its key, or what can be done with a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evanesce.model import timestamp
from tests.e2e.test_page_protocol import NOW, OTHER, message

if TYPE_CHECKING:
    from tests.page.states import Stage

LIMITS = {"contentBytes": 4096, "shortestTtl": 1, "longestTtl": 86_400}
UNTIL = timestamp(NOW + 3_600_000)
INVITE = {"inviteId": OTHER, "people": 12, "left": 7, "expiresAt": UNTIL}


def _enter(stage: Stage, *, creator: bool = False, **options: Any) -> None:
    """Open the room with these options."""
    room = {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False} | options
    people = [{"userId": stage.account["userId"], "displayName": "Ana"}, {"userId": OTHER, "displayName": "Ben"}]
    created_by = stage.account["userId"] if creator else OTHER
    stage.script.answer("hello", limits=LIMITS)
    stage.script.answer("join", room=room, members=people, memberCount=2)
    stage.script.answer("room", createdBy=created_by)
    stage.page.goto(f"{stage.url}/r/{message(1, '')['roomId']}")
    stage.script.asked("room")
    stage.page.locator("#banner").wait_for(state="hidden")


def new_rules(stage: Stage) -> None:
    stage.page.route("**/api/v1/rooms", lambda route: route.fulfill(json={"rooms": []}))
    stage.page.goto(stage.url)
    stage.page.click("#home-options")
    stage.page.locator("dialog.settings").wait_for()


def rules(stage: Stage) -> None:
    _enter(stage, creator=True, access="invite")
    stage.script.answer("invites", type="invites", invites=[INVITE])
    stage.script.answer("invite", type="invite", link=f"{stage.url}/r/x#invite={'s' * 43}", **INVITE)
    stage.page.click("#room-menu-open")
    stage.page.click("#room-settings")
    stage.page.locator(".invites li").wait_for()
    stage.page.click("dialog.settings form button")
    stage.page.locator("dialog.settings .code svg").wait_for()


def bans(stage: Stage) -> None:
    _enter(stage, creator=True)
    banned = [
        {"userId": OTHER, "displayName": "Ben", "until": UNTIL},
        {"userId": OTHER, "displayName": "", "until": UNTIL},
    ]
    stage.script.answer("invites", type="invites", invites=[])
    stage.script.answer("bans", type="bans", bans=banned, next="more")
    stage.page.click("#room-menu-open")
    stage.page.click("#room-settings")
    stage.page.locator("dialog.settings > .row button").first.click()
    stage.page.locator(".bans li").nth(1).wait_for()


def person(stage: Stage) -> None:
    _enter(stage, creator=True)
    stage.script.tell({"type": "member_muted", "userId": OTHER, "until": UNTIL})
    stage.page.click("#members-open")
    stage.page.click("#members-list li button")
    stage.page.locator("dialog.person").wait_for()


def voting(stage: Stage) -> None:
    _enter(stage)
    ballot = {"type": "vote", "userId": OTHER, "votes": 1, "needed": 2, "expiresAt": timestamp(NOW + 50_000)}
    stage.script.tell(ballot)
    stage.page.locator(".ballot").wait_for()


def muted(stage: Stage) -> None:
    _enter(stage)
    stage.script.tell({"type": "member_muted", "userId": stage.account["userId"], "until": UNTIL})
    stage.page.locator("#composer-problem").wait_for()


def key_missing(stage: Stage) -> None:
    _enter(stage, encrypted=True)
    stage.script.tell(message(1, "c2VhbGVk"))
    stage.page.locator("#key-bar form").wait_for()
    stage.page.locator(".unreadable").wait_for()


def replying(stage: Stage) -> None:
    _enter(stage)
    marked = "See https://example.org/a/path, and `code`."
    stage.script.tell(message(1, marked), message(2, "/me agrees") | {"replyTo": message(1, "")["messageId"]})
    stage.script.tell(message(3, "Too late") | {"replyTo": message(9, "")["messageId"]})
    stage.page.locator(".message.action .quoted").wait_for()
    stage.page.locator(".message").nth(2).focus()
    stage.page.keyboard.press("r")
    stage.page.locator("#replying").wait_for()


def message_menu(stage: Stage) -> None:
    _enter(stage)
    stage.script.tell(message(1, "What can be done with this?"))
    stage.page.locator("#messages .text").wait_for()
    stage.page.locator(".message").focus()
    stage.page.keyboard.press("Enter")
    stage.page.get_by_role("menuitem").first.wait_for()


def notifications(stage: Stage) -> None:
    _enter(stage)
    stage.page.click("#room-menu-open")
    stage.page.click("#alerts-open")
    stage.page.locator("dialog.settings").wait_for()


def shortcuts(stage: Stage) -> None:
    _enter(stage)
    stage.page.keyboard.press("Control+/")
    stage.page.locator("dialog.help").wait_for()


def own_name(stage: Stage) -> None:
    _enter(stage)
    stage.page.click("#room-menu-open")
    stage.page.click("#room-rename")
    stage.page.locator("dialog form.rules").wait_for()


RULE_STATES = (
    *(new_rules, rules, bans, person, voting, muted, key_missing),
    *(replying, message_menu, notifications, shortcuts, own_name),
)
