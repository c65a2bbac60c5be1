"""What the page does at rarer words of the protocol: a scripted server speaks to it over its WebSocket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from evanesce.client.connection import Fields
from evanesce.model import timestamp
from tests.e2e.running import Server
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

pytestmark = pytest.mark.slow

ROOM = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
NOW = 2_000_000_000_000
"""The scripted server's time, in ms since 1970: years away from everybody else's."""


BANNERS = """
    window.banners = [];
    new MutationObserver(() => window.banners.push(document.querySelector("#banner-text").textContent))
        .observe(document.querySelector("#banner-text"), { childList: true, characterData: true, subtree: true });
"""
"""Keeps each text of the banner: it is drawn only after a while, and is gone again after a short outage."""

TOKEN = "JSON.parse(localStorage.getItem('evanesce.account')).token"


class Script:
    """The server's side of each connection. `answers` are tried in order for a command; each is used once."""

    def __init__(self, page: Page, account: Fields) -> None:
        self.page = page
        self.account = account
        self.commands: list[Fields] = []
        self.lines: list[WebSocketRoute] = []
        self.answers: list[tuple[str, Callable[[WebSocketRoute, Fields], None]]] = []
        self.heartbeat = 25.0
        page.route_web_socket("**/ws*", self._connected)

    def _connected(self, line: WebSocketRoute) -> None:
        self.lines.append(line)
        line.on_message(lambda frame: self._heard(line, json.loads(frame)))

    def _heard(self, line: WebSocketRoute, command: Fields) -> None:
        self.commands.append(command)
        for number, (kind, answer) in enumerate(self.answers):
            if kind == command["type"]:
                del self.answers[number]
                answer(line, command)
                return
        self.reply(line, command)

    def reply(self, line: WebSocketRoute, command: Fields, **changes: Any) -> None:
        """Answer as a server does that has nothing against anything."""
        member = {"userId": self.account["userId"], "displayName": "Ana"}
        replies: dict[str, Fields] = {
            "hello": {
                "type": "welcome",
                **member,
                "serverTime": timestamp(NOW),
                "messageTtl": 60,
                "heartbeat": self.heartbeat,
                "limits": {"contentBytes": 4096},
            },
            "join": {
                "type": "joined",
                "members": [member],
                "memberCount": 1,
                "messages": [],
                "more": False,
                "cursor": "start",
                "missed": 0,
                "unsent": [],
                "room": {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False},
            },
            "room": {"type": "room", "createdBy": OTHER, "deepLink": "http://example.org/r/x"},
            "send": {"type": "sent", "messageId": command.get("messageId"), "expiresAt": timestamp(NOW + 60_000)},
            "members": {"type": "members", "members": [member], "memberCount": 1},
            "ping": {"type": "pong", "serverTime": timestamp(NOW)},
        }
        reply = {"roomId": ROOM} | replies.get(command["type"], {"type": "ok"}) | changes
        line.send(json.dumps([reply | {"ref": command["ref"]}]))

    def answer(self, kind: str, **changes: Any) -> None:
        """Answer the next command of a type otherwise."""
        self.answers.append((kind, lambda line, command: self.reply(line, command, **changes)))

    def tell(self, *events: Fields) -> None:
        self.lines[-1].send(json.dumps([{"roomId": ROOM} | event for event in events]))

    def asked(self, kind: str, count: int = 1) -> Fields:
        """Wait until the page has sent `count` commands of a type; return the last of them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [command for command in self.commands if command["type"] == kind]
            if len(found) >= count:
                return found[count - 1]
            assert time.monotonic() < deadline, f"the page sent {self.commands}"
            self.page.wait_for_timeout(25)

    def enter(self, url: str) -> None:
        """Open the room, and wait until the page has joined it and has told its renewed token."""
        self.page.goto(f"{url}/r/{ROOM}")
        self.asked("room")
        self.page.wait_for_function(f"first => {TOKEN} !== first", arg=self.account["token"])
        self.told(self.page.evaluate(TOKEN))

    def told(self, token: str) -> None:
        """Wait until the page has sent `hello` with this token."""
        deadline = time.monotonic() + PATIENCE
        while not any(command.get("token") == token for command in self.commands):
            assert time.monotonic() < deadline, f"the page sent {self.commands}"
            self.page.wait_for_timeout(25)

    def shows(self, selector: str) -> None:
        self.page.locator(selector).wait_for()

    def reads(self, content: str) -> None:
        self.page.locator("#messages .text").get_by_text(content, exact=True).wait_for()

    def notes(self, text: str) -> None:
        self.page.locator(".notice").get_by_text(text).first.wait_for()

    def contents(self) -> list[str | None]:
        return list(self.page.locator("#messages .text").all_text_contents())


def message(number: int, content: str, sender: str = OTHER) -> Fields:
    return {
        "type": "message",
        "roomId": ROOM,
        "messageId": f"00000000-0000-4000-8000-{number:012}",
        "senderId": sender,
        "senderName": "Ben",
        "content": content,
        "createdAt": timestamp(NOW - 1000),
        "expiresAt": timestamp(NOW + 59_000),
        "cursor": f"cursor {number}",
    }


@pytest.fixture
def script(shared_server: Server, browser: Browser) -> Iterator[Script]:
    account = shared_server.sign_in("Ana")
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{shared_server.url}/healthz")
    page.evaluate("kept => localStorage.setItem('evanesce.account', kept)", json.dumps(account))
    script = Script(page, account)
    yield script
    context.close()
    assert problems == []


@pytest.fixture
def joined(script: Script, shared_server: Server) -> Script:
    script.enter(shared_server.url)
    return script


def test_hello_and_join(joined: Script) -> None:
    kinds = [command["type"] for command in joined.commands]
    assert kinds[0] == "hello"
    assert kinds.index("join") < kinds.index("room")
    assert joined.commands[0]["token"]
    assert "since" not in joined.asked("join")
    joined.shows("#members-count:has-text('1 person')")


def test_a_gap(joined: Script) -> None:
    joined.tell(message(1, "one"), message(2, "two"))
    joined.answers.append(
        (
            "join",
            lambda line, command: (
                # What comes while the answer is on its way must not move the cursor past the gap.
                joined.tell(message(5, "five")),
                joined.reply(
                    line,
                    command,
                    messages=[message(number, text) for number, text in ((2, "two"), (4, "four"), (5, "five"))],
                    cursor="cursor 5",
                    missed=None,
                ),
            )[-1],
        )
    )
    joined.tell({"type": "gap", "since": "cursor 1"})
    assert joined.asked("join", 2)["since"] == "cursor 1"
    joined.notes("may have missed messages")
    joined.reads("four")
    assert sorted(filter(None, joined.contents())) == ["five", "four", "one", "two"], "none twice"


def test_coming_back(joined: Script) -> None:
    joined.tell(message(1, "one"), message(2, "two"))
    joined.reads("two")
    joined.answer("join", messages=[message(7, "seven")], missed=4, unsent=[message(1, "")["messageId"]])
    joined.page.evaluate(BANNERS)
    joined.tell({"type": "goodbye", "code": 1001, "reason": "Away.", "reconnect": True, "reconnectAfter": 0.2})
    joined.lines[-1].close(code=1001)
    joined.page.wait_for_function("() => window.banners.some(text => text.startsWith('No connection. Away.'))")
    assert joined.asked("join", 2)["since"] == "cursor 2"
    joined.notes("You missed 4 messages")
    joined.reads("seven")
    assert joined.contents() == ["two", "seven"]
    assert len(joined.lines) == 2
    joined.page.locator("#banner").wait_for(state="hidden")


def test_the_room_is_named_in_the_address_but_not_at_every_third_attempt_in_a_row(joined: Script) -> None:
    for _ in range(2):
        joined.answers.append(("hello", lambda line, command: line.close(code=1011)))
    joined.lines[-1].close(code=1011)
    joined.asked("join", 2)
    first, *others = [line.url for line in joined.lines]
    assert first.endswith(f"/ws?roomId={ROOM}")
    assert others == [first, first, first.partition("?")[0]]


def test_an_acknowledgement_that_is_lost(joined: Script) -> None:
    joined.answers.append(("send", lambda line, command: line.close(code=1011)))
    joined.page.fill("#composer-text", "once")
    joined.page.press("#composer-text", "Enter")
    first = joined.asked("send")
    again = joined.asked("send", 2)
    assert (again["messageId"], again["content"]) == (first["messageId"], "once")
    joined.tell(message(1, "once", joined.account["userId"]) | {"messageId": first["messageId"]})
    joined.shows("#messages .message.own")
    assert joined.page.locator("#pending .message").count() == 0


def test_messages_that_are_refused(joined: Script) -> None:
    error = {"type": "error", "message": "Not that word.", "retry": False}
    joined.answer("send", code="rejected", **error)
    joined.page.fill("#composer-text", "a word")
    joined.page.press("#composer-text", "Enter")
    joined.shows("#pending .why:has-text('Not that word.')")
    joined.page.get_by_role("button", name="Edit").click()
    assert joined.page.input_value("#composer-text") == "a word"
    assert joined.page.locator("#pending .message").count() == 0

    for code in ("store_unavailable", "rate_limited"):
        joined.answer("send", code=code, **error | {"retry": True, "retryAfter": 0.05})
    joined.page.press("#composer-text", "Enter")
    sent = [joined.asked("send", count)["messageId"] for count in (2, 3, 4)]
    assert len(set(sent)) == 1, "asked again under the same id"


def test_notices(joined: Script) -> None:
    joined.tell({"type": "skipped", "count": 1}, {"type": "skipped", "count": 3})
    joined.notes("1 message expired before it reached you")
    joined.notes("3 messages expired before they reached you")
    joined.tell({"type": "member_joined", "userId": OTHER, "displayName": "Ben", "memberCount": 2})
    joined.shows("#members-count:has-text('2 people')")
    joined.tell({"type": "typing", "userId": OTHER})
    joined.shows("#typing:has-text('Ben')")
    joined.tell({"type": "member_updated", "userId": OTHER, "displayName": "Benno"})
    joined.notes("Benno")
    joined.tell({"type": "member_left", "userId": OTHER, "memberCount": 1})
    joined.notes("left")
    assert joined.page.text_content("#typing") == ""
    joined.tell({"type": "member_count", "memberCount": 250}, {"type": "typing", "userId": OTHER})
    joined.shows("#members-count:has-text('250 people')")
    joined.shows("#typing:has-text('Someone is typing')")
    joined.page.click("#members-open")
    joined.asked("members")
    joined.page.click("#members button")
    joined.tell({"type": "from_a_later_version", "secret": 1})
    joined.tell({"type": "room_closed", "reason": "Its creator closed it."})
    joined.shows("#stopped-text:has-text('Its creator closed it.')")


@pytest.mark.parametrize("code", [1002, 1007, 1009, 4400, 4403])
def test_codes_that_forbid_coming_back(joined: Script, code: int) -> None:
    joined.tell(message(1, "one"))
    joined.reads("one")
    joined.tell({"type": "goodbye", "code": code, "reason": "Enough.", "reconnect": False})
    joined.lines[-1].close(code=code if code not in (1002, 1007, 1009) else 4400)
    joined.shows("#stopped-text:has-text('Enough.')")
    assert "one" not in joined.contents()
    joined.page.wait_for_timeout(800)
    assert len(joined.lines) == 1


def test_signing_in_again(joined: Script) -> None:
    joined.lines[-1].close(code=4401)
    joined.shows("#sign-in")
    assert joined.page.evaluate("localStorage.length") == 0


def test_a_room_that_cannot_be_joined_yet(script: Script, shared_server: Server) -> None:
    script.answer("join", type="error", code="store_unavailable", message="Later.", retry=True, retryAfter=0.1)
    script.answer("join", type="error", code="room_full", message="Full.", retry=False)
    script.page.goto(f"{shared_server.url}/r/{ROOM}")
    script.shows("#stopped-text:has-text('This room is full.')")
    script.page.click("#stopped-retry")
    script.shows("#members-count:has-text('1 person')")


def test_silence(script: Script, shared_server: Server) -> None:
    script.heartbeat = 0.2
    script.page.goto(f"{shared_server.url}/r/{ROOM}")
    script.asked("ping")
    script.asked("ping", 2)


def test_the_token_is_renewed(script: Script, shared_server: Server) -> None:
    """At the start, and the connection is told: it lasts as long as the newest token that it was told."""
    script.page.goto(f"{shared_server.url}/r/{ROOM}")
    script.asked("room")
    kept = json.loads(script.page.evaluate("localStorage.getItem('evanesce.account')"))
    assert kept["userId"] == script.account["userId"]
    assert shared_server.ask("GET", "/api/v1/me", token=kept["token"])[0] == 200
    other = script.page.context.new_page()
    other.goto(f"{shared_server.url}/healthz")
    other.evaluate("kept => localStorage.setItem('evanesce.account', kept)", json.dumps(kept | {"token": "newer"}))
    script.told("newer")
    assert (script.commands[-1]["type"], script.commands[-1].get("token")) == ("hello", "newer")
