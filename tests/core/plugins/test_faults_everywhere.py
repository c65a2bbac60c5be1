"""Every fault of a plugin in every place: the server lives, the plugin is named, no content is in the log.

A server in memory under virtual time: Ana and Ben talk in a room, and Eve does what meets the fault.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import CommandError
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Answered, Caller, Challenge, HttpRequest, HttpResponse, HttpRoute
from evanesce.model import ChatRoom, Draft, Identity, KnownUser, Record, Registration, User, timestamp
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server
from tests.core.plugins.faulty import (
    RAISING,
    SECRET,
    Fault,
    ShieldedHang,
    blocks,
    hangs,
    leaves_a_scope_open,
    written,
)

pytestmark = pytest.mark.slow

Answer = dict[str, Any]


class Faulty:
    """All that a plugin may be at once; `fault` is what the place named `at` does."""

    evanesce_sees_content = True
    provider = "faulty"
    loopback_only = False

    def __init__(self, at: str) -> None:
        self.at = at
        self.fault: Fault | None = None
        self.met = 0

    async def _at(self, place: str, secret: str = SECRET) -> Any:
        if self.at != place or self.fault is None:
            await trio.lowlevel.checkpoint()
            return None
        self.met += 1
        return await self.fault(secret)

    # Its hooks

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        found: Draft | None = await self._at("filter_message", draft.content)
        return found

    @hookimpl
    async def evanesce_member_joined(self, display_name: str) -> None:
        await self._at("member_joined")

    @hookimpl
    async def evanesce_member_left(self) -> None:
        await self._at("member_left")

    @hookimpl
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        await self._at("room_opened")

    @hookimpl
    async def evanesce_room_closed(self) -> None:
        await self._at("room_closed")

    # Its authenticator

    async def __aenter__(self) -> Faulty:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        found = await self._at("challenge")
        return cast(Challenge, found) if found is not None else Challenge({})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        found = await self._at("authenticate")
        return cast(Identity, found) if found is not None else Identity(subject="eve", display_name="Eve")

    async def check(self) -> str:
        found = await self._at("check")
        return cast(str, found) if found is not None else "well"

    # Its route

    async def handle(self, request: HttpRequest) -> HttpResponse:
        found = await self._at("route")
        return cast(HttpResponse, found) if found is not None else HttpResponse(b"{}")


class FaultyRepository(MemoryRepository):
    """Meets the fault in the methods that Eve's commands need, and in writing what nobody waits for."""

    def __init__(self, faulty: Faulty) -> None:
        super().__init__()
        self._faulty = faulty

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        await self._faulty._at("create_room")
        return await super().create_room(room, most)

    async def room(self, room_id: str) -> ChatRoom | None:
        await self._faulty._at("room")
        return await super().room(room_id)

    async def update_user(self, user: User) -> User | None:
        await self._faulty._at("update_user")
        return await super().update_user(user)

    async def sign_in(
        self, user: User, provider: str = "", registration: Registration | None = None
    ) -> tuple[User, bool]:
        await self._faulty._at("sign_in")
        return await super().sign_in(user, provider, registration)

    async def record(self, records: Any) -> None:
        await self._faulty._at("record")
        await super().record(cast("list[Record]", records))


class World:
    """The server with its people; `act` is what Eve does."""

    def __init__(self, server: TestServer, faulty: Faulty) -> None:
        self.server = server
        self.faulty = faulty

    async def begin(self) -> None:
        self.ana, self.ben, self.eve = [await self.server.sign_in(name) for name in ("ana", "ben", "Eve")]
        self.room_id = await self.server.open_room(self.ana)
        for person in (self.ana, self.ben, self.eve):
            assert (await person.ask("join", roomId=self.room_id))["type"] == "joined"

    async def check_others(self) -> None:
        """See that nobody else noticed: they talk, and somebody new comes."""
        self.faulty.fault = None
        assert (await self.ana.ask("send", roomId=self.room_id, content="still here"))["type"] == "sent"
        await self.ben.until("message", content="still here")
        dan = await self.server.sign_in("dan")
        assert (await dan.ask("join", roomId=self.room_id))["type"] == "joined"

    # What Eve does

    async def send(self) -> Answer:
        return await self.eve.ask("send", roomId=self.room_id, content=SECRET)

    async def leave_and_join(self) -> Answer:
        await self.eve.ask("leave", roomId=self.room_id)
        return await self.eve.ask("join", roomId=self.room_id)

    async def open_and_close(self) -> Answer:
        room = await self.eve.ask("create_room")
        return room if room["type"] == "error" else await self.eve.ask("close_room", roomId=room["roomId"])

    async def join_unknown(self) -> Answer:
        """Join a room of which this server has not heard: another one has created it."""
        room_id = str(uuid.uuid4())
        creator = (await self.eve.ask("profile"))["userId"]
        link = f"https://x.example/r/{room_id}"
        room = ChatRoom(room_id=room_id, created_by=creator, created_at=timestamp(0), deep_link=link)
        assert await self.server.repository.create_room(room, 10)
        return await self.eve.ask("join", roomId=room_id)

    async def rename(self) -> Answer:
        return await self.eve.ask("update_profile", displayName="Eva")

    async def challenge(self) -> Answer:
        return await self.server.connect().ask("challenge", provider="faulty")

    async def hello(self) -> Answer:
        return await self.server.connect().ask("hello", credential={"provider": "faulty"})

    async def hello_by_http(self) -> Answer:
        try:
            await self.server.gateway.sign_in({"provider": "faulty"}, bearer=None, address="192.0.2.1")
        except CommandError as error:
            return {"type": "error", "code": error.code.value}
        return {"type": "welcome"}

    async def readiness(self) -> Answer:
        state = (await self.server.gateway.readiness()).parts["faulty"]
        return {"type": "ready"} if state == "up" else {"type": "error", "code": "down"}

    async def request(self) -> Answer:
        [route] = self.server.gateway.routes
        request = HttpRequest(method="GET", path="/faulty", query={}, headers={}, body=b"", user=None)
        try:
            await route.handle(request)
        except CommandError as error:
            return {"type": "error", "code": error.code.value}
        return {"type": "ok"}


Act = Callable[[World], Awaitable[Answer]]

# Where the fault is, what meets it, what the one who met it gets (None: does not notice), and how the log names it.
PLACES: dict[str, tuple[Act, str | None, str]] = {
    "filter_message": (World.send, "internal", "plugin faulty: evanesce_filter_message"),
    "member_joined": (World.leave_and_join, None, "plugin faulty: evanesce_member_joined"),
    "member_left": (World.leave_and_join, None, "plugin faulty: evanesce_member_left"),
    "room_opened": (World.open_and_close, None, "plugin faulty: evanesce_room_opened"),
    "room_closed": (World.open_and_close, None, "plugin faulty: evanesce_room_closed"),
    "challenge": (World.challenge, "auth_unavailable", "plugin faulty: Authenticator.challenge"),
    "authenticate": (World.hello, "auth_unavailable", "plugin faulty: Authenticator.authenticate"),
    "check": (World.readiness, "down", "plugin faulty: Authenticator.check"),
    "route": (World.request, "internal", "plugin routes: GET /faulty"),
}

REPOSITORY_PLACES: dict[str, tuple[Act, str | None, str]] = {
    "create_room": (World.open_and_close, "internal", "plugin repository: Repository.create_room"),
    "room": (World.join_unknown, "internal", "plugin repository: Repository.room"),
    "update_user": (World.rename, "internal", "plugin repository: Repository.update_user"),
    "sign_in": (World.hello, "internal", "plugin repository: Repository.sign_in"),
    "record": (World.leave_and_join, None, "plugin repository: Repository.record"),
}

ALL_PLACES = PLACES | REPOSITORY_PLACES


@asynccontextmanager
async def world(at: str) -> AsyncIterator[World]:
    faulty = Faulty(at)
    async with memory_server(
        plugins={"faulty": faulty},
        authenticators={"name": NameAuthenticator(), "faulty": faulty},
        repository=FaultyRepository(faulty),
        routes=[HttpRoute("GET", "/faulty", faulty.handle)],
    ) as server:
        made = World(server, faulty)
        await made.begin()
        await trio.sleep(2)  # what nobody waits for has been written
        yield made


def check_log(caplog: pytest.LogCaptureFixture, named: str) -> None:
    log = written(caplog.records)
    assert named in log
    assert f"{__name__}:" in log, "the module and the line of what was called"
    assert SECRET not in log


async def meet(made: World, at: str, fault: Fault) -> Answer:
    act, _, _ = ALL_PLACES[at]
    made.faulty.fault = fault
    with trio.fail_after(30):
        answer = await act(made)
    await trio.sleep(8)  # observers and records are told later
    assert made.faulty.met >= 1
    return answer


@pytest.mark.parametrize("fault", RAISING, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("at", ALL_PLACES)
async def test_what_is_raised_stays_inside(
    at: str, fault: Fault, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    _, code, named = ALL_PLACES[at]
    async with world(at) as made:
        answer = await meet(made, at, fault)
        assert (answer["type"], answer.get("code")) == ("error", code) if code else answer["type"] != "error"
        check_log(caplog, named)
        await made.check_others()


@pytest.mark.parametrize("at", PLACES)
async def test_a_scope_that_is_left_open_harms_nobody(
    at: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(at) as made:
        await meet(made, at, leaves_a_scope_open)
        check_log(caplog, PLACES[at][2])
        await made.check_others()


@pytest.mark.parametrize("shielded", [False, True])
@pytest.mark.parametrize("at", PLACES)
async def test_what_hangs_is_ended_or_given_up(
    at: str, shielded: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    _, code, named = PLACES[at]
    async with world(at) as made:
        with ShieldedHang() as hang:
            began = trio.current_time()
            answer = await meet(made, at, hang if shielded else hangs)
            assert trio.current_time() - began <= 8 + {"challenge": 5, "authenticate": 5, "route": 10}.get(at, 2)
            assert (answer["type"], answer.get("code")) == ("error", code) if code else answer["type"] != "error"
            if at != "check" or shielded:  # readiness waits for 1 s alone, and then tells who does not answer
                check_log(caplog, named)
            assert ("is abandoned" in caplog.text) == shielded
            await made.check_others()


@pytest.mark.parametrize("at", REPOSITORY_PLACES)
async def test_a_repository_that_hangs_does_not_answer(
    at: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(at) as made:
        answer = await meet(made, at, hangs)
        unnoticed = REPOSITORY_PLACES[at][1] is None
        assert answer.get("code") == (None if unnoticed else "persistence_unavailable")
        await trio.sleep(60)
        check_log(caplog, REPOSITORY_PLACES[at][2])
        await made.check_others()


@pytest.mark.parametrize("at", ALL_PLACES)
async def test_what_blocks_is_found_afterwards(
    at: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(at) as made:
        assert (await meet(made, at, blocks))["type"] != "error"
        check_log(caplog, f"{ALL_PLACES[at][2]} (")
        told = re.search(r"blocked the whole server for ([0-9.]+) s", caplog.text)
        assert told is not None
        assert float(told[1]) >= 0.3  # longer on a machine that does other work
        await made.check_others()


async def test_shielded_hangs_are_bounded_in_number(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world("authenticate") as made:
        with ShieldedHang() as hang:
            made.faulty.fault = hang
            for _ in range(15):
                await trio.sleep(10)  # one address may sign in so often
                assert (await made.hello_by_http())["code"] == "auth_unavailable"
            assert made.faulty.met == 10, "no more are made while so many hang"
            assert "is not called, because 10 earlier calls hang (1 times so far)" in caplog.text
        await trio.testing.wait_all_tasks_blocked()
        made.faulty.fault = None
        assert (await made.hello_by_http())["type"] == "welcome"


class _OddText(str):
    """A text whose methods are somebody's."""

    def __len__(self) -> int:
        raise SystemExit(SECRET)


WRONG: dict[str, list[Any]] = {
    "filter_message": [5, {"content": SECRET}, (SECRET,)],
    "challenge": [
        SECRET,
        Challenge({"type": SECRET}),
        Challenge({"ref": SECRET}),
        Challenge({"challengeId": SECRET}),
        Challenge({"expiresAt": SECRET}),
        Challenge({"a": object()}),
        Challenge({"a": SECRET + "\ud800"}),
        Challenge({"a": "x" * 300_000}),
        Challenge(cast(Any, [("a", SECRET)])),
        Challenge(cast(Any, {5: SECRET})),
        Challenge({}, kept=cast(Any, SECRET)),
        Challenge({}, kept=b"x" * 70_000),
        *[
            Challenge({}, kept=b"", seconds=cast(Any, seconds))
            for seconds in (-1, 0, math.nan, math.inf, 1e9, "5", True)
        ],
    ],
    "authenticate": [
        SECRET,
        cast(Any, ("eve", SECRET)),
        *[
            Identity(subject=cast(Any, subject), display_name="E")
            for subject in ("", "x" * 256, "a\nb", "\ud800", 5, None)
        ],
        Identity(subject=_OddText("eve"), display_name="E"),
        Identity(subject="eve", display_name=cast(Any, 5)),
        Identity(subject="eve", display_name="E", email=cast(Any, 5)),
        Identity(subject="eve", display_name="E", guest=cast(Any, "yes")),
        *(
            kind(sign_in_id=cast(Any, sign_in_id))
            for sign_in_id in ("", "eve", 5, "00000000-0000-0000-0000-000000000000", f"{uuid.uuid4()}\n")
            for kind in (partial(Identity, subject="eve", display_name="E"), partial(KnownUser, user_id="eve"))
        ),
    ],
    "check": [5, b"well"],
    "route": [
        SECRET,
        HttpResponse(cast(Any, SECRET)),
        *[HttpResponse(b"", cast(Any, status)) for status in (100, 600, -1, "200", True)],
        HttpResponse(b"", content_type="text/html\r\nX: y"),
        HttpResponse(b"", headers={"X": f"{SECRET}\r\nY: z"}),
        HttpResponse(b"", headers={"X y": SECRET}),
        HttpResponse(b"", headers={"Content-Length": "5"}),
        HttpResponse(b"", headers=cast(Any, {"X": 5})),
    ],
}


@pytest.mark.parametrize(("at", "given"), [(at, given) for at in WRONG for given in WRONG[at]])
async def test_what_breaks_the_contract_goes_no_further(
    at: str, given: object, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def gives(secret: str) -> object:
        return given

    async with world(at) as made:
        answer = await meet(made, at, gives)
        assert (answer["type"], answer["code"]) == ("error", PLACES[at][1])
        check_log(caplog, PLACES[at][2])
        await made.check_others()


@pytest.mark.parametrize(
    "error",
    [
        CommandError(cast(Any, "own"), "An error of its own."),
        CommandError(cast(Any, None), SECRET),
        CommandError(cast(Any, "auth_failed"), SECRET),
    ],
)
@pytest.mark.parametrize("at", ["authenticate", "route"])
async def test_an_error_that_no_client_could_be_told_is_a_fault(
    at: str, error: CommandError, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuses(secret: str) -> None:
        raise error

    async with world(at) as made:
        assert (await meet(made, at, refuses))["code"] == PLACES[at][1]
        check_log(caplog, PLACES[at][2])
        await made.check_others()
