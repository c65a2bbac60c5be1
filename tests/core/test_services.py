"""What the task of a plugin may do with the running server."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable
from evanesce.errors import CommandError, ErrorCode, Rejected, StoreUnavailable
from evanesce.hookspecs import HOOK_SECONDS, hookimpl
from evanesce.interfaces import Authenticator, Caller, HttpRequest, HttpResponse, HttpRoute, Server
from evanesce.model import Draft, Identity, Timestamp, milliseconds
from evanesce.plugins import Plugins
from evanesce.services import CALL_SECONDS, KEY_CHARACTERS, LEAST_RATE, MOST_BURST, MOST_CALLS, MOST_LIMITS, MOST_RATE
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.plugins import plugin_server
from evanesce.testing.server import NameAuthenticator, memory_server
from tests.core.rooms.clients import NOWHERE, QUICK, join_room


class Announcer:
    """Keeps the server that its task gets."""

    def __init__(self) -> None:
        self.kept: Server | None = None

    @property
    def server(self) -> Server:
        assert self.kept is not None, "the task has not started"
        return self.kept

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        self.kept = server


class Words:
    """A filter that refuses one word, and changes another."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self.senders: list[str] = []

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        self.senders.append(draft.sender_id)
        if "mud" in draft.content:
            raise Rejected("No mud.")
        return None


async def code_of(awaitable: Any) -> ErrorCode:
    with pytest.raises(CommandError) as refused:
        await awaitable
    return refused.value.code


async def test_a_service_says_something_that_nobody_takes_for_a_person(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        message_id = await announcer.server.say(room, "The next question!", name="Quiz")
        for one in (ada, bob):
            heard = await one.until("message")
            assert heard["messageId"] == message_id
            assert (heard["senderId"], heard["senderName"]) == ("service:quiz", "Quiz (service)")
            assert heard["content"] == "The next question!"
            lifetime = milliseconds(heard["expiresAt"]) - milliseconds(heard["createdAt"])
            assert lifetime == 60_000
        assert [member["displayName"] for member in (await ada.ask("members", roomId=room))["members"]] == [
            "Ada",
            "Bob",
        ]


async def test_it_reaches_a_room_of_another_server_and_one_where_nobody_is(autojump_clock: MockClock) -> None:
    memory, repository, announcer = MemoryServer(), MemoryRepository(), Announcer()
    async with (
        memory_server(memory=memory, repository=repository) as one,
        memory_server(memory=memory, repository=repository, plugins={"quiz": announcer}),
    ):
        ada = await one.sign_in("Ada")
        room = await one.open_room(ada)
        await announcer.server.say(room, "first", name="Quiz", ttl=5)
        joined = await ada.ask("join", roomId=room)
        assert [message["content"] for message in joined["messages"]] == ["first"]
        await announcer.server.say(room, "second", name="Quiz")
        assert (await ada.until("message"))["content"] == "second"
        await trio.sleep(5)
        again = await (await one.sign_in("Bob")).ask("join", roomId=room)
        assert [message["content"] for message in again["messages"]] == ["second"]


async def test_nothing_is_said_in_a_known_room_before_the_database_has_told_of_it(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}) as server:
        ada = await server.sign_in("Ada")
        room_id = await server.open_room(ada)
        await server.repository.close_room(room_id, Timestamp("2026-01-01T00:00:00.000Z"))  # nobody is told
        server.repository.state = "hung"
        ada.say("join", roomId=room_id)
        await wait_all_tasks_blocked()
        assert server.hub.running(room_id) is not None
        server.repository.state = "up"
        with pytest.raises(CommandError) as refused:
            await announcer.server.say(room_id, "Is anybody there?", name="Quiz")
        assert refused.value.code is ErrorCode.ROOM_NOT_FOUND


async def test_its_message_is_held_to_the_rules_of_every_message(autojump_clock: MockClock) -> None:
    announcer, words = Announcer(), Words()
    plugins = {"quiz": announcer, "words": words}
    async with memory_server(plugins=plugins, limits=QUICK, messages=MessagesTable(content_bytes=20)) as server:
        ada = await server.sign_in("Ada")
        room, say = await server.open_room(ada), announcer.server.say
        encrypted = (await ada.ask("create_room", encrypted=True))["roomId"]
        assert await code_of(say(room, " ", name="Quiz")) is ErrorCode.CONTENT_EMPTY
        assert await code_of(say(room, "x" * 21, name="Quiz")) is ErrorCode.CONTENT_TOO_LONG
        assert await code_of(say(room, "hello", name="Quiz", ttl=0.5)) is ErrorCode.BAD_REQUEST
        assert await code_of(say(room, "hello", name="Quiz", ttl=float("nan"))) is ErrorCode.BAD_REQUEST
        assert await code_of(say(room, "hello", name="\u202e")) is ErrorCode.BAD_REQUEST
        assert await code_of(say(room, "hello", name="Quiz (service)")) is ErrorCode.BAD_REQUEST
        assert await code_of(say(room, "hello", name="x" * 55)) is ErrorCode.BAD_REQUEST
        assert await code_of(say(room, "a \ud800", name="Quiz")) is ErrorCode.BAD_REQUEST
        assert await code_of(say("no id", "hello", name="Quiz")) is ErrorCode.BAD_REQUEST
        assert await code_of(say(NOWHERE, "hello", name="Quiz")) is ErrorCode.ROOM_NOT_FOUND
        assert await code_of(say(encrypted, "hello", name="Quiz")) is ErrorCode.BAD_REQUEST
        assert words.senders == []
        assert await code_of(say(room, "mud", name="Quiz")) is ErrorCode.REJECTED
        assert words.senders == ["service:quiz"]


async def test_an_encrypted_room_takes_what_is_encrypted(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}) as server:
        ada = await server.sign_in("Ada")
        room = (await ada.ask("create_room", encrypted=True))["roomId"]
        await ada.ask("join", roomId=room)
        sealed = base64.urlsafe_b64encode(bytes(12 + 256 + 16)).decode().rstrip("=")
        await announcer.server.say(room, sealed, name="Quiz")
        assert (await ada.until("message"))["content"] == sealed


async def test_a_plugin_may_say_as_much_as_a_user_over_all_servers(autojump_clock: MockClock) -> None:
    memory, repository, here, there = MemoryServer(), MemoryRepository(), Announcer(), Announcer()
    limits = LimitsTable(messages_per_second=1, burst=4)
    async with (
        memory_server(memory=memory, repository=repository, limits=limits, plugins={"quiz": here}) as one,
        memory_server(memory=memory, repository=repository, limits=limits, plugins={"quiz": there}),
    ):
        room = await one.open_room(await one.sign_in("Ada"))
        for number in range(4):
            await (here if number % 2 else there).server.say(room, str(number), name="Quiz")
        with pytest.raises(CommandError) as refused:
            await here.server.say(room, "one too many", name="Quiz")
        assert refused.value.code is ErrorCode.RATE_LIMITED
        assert refused.value.retry_after is not None
        await trio.sleep(refused.value.retry_after)
        await here.server.say(room, "later", name="Quiz")


async def test_a_plugin_closes_a_room(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}, limits=QUICK) as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        await announcer.server.close_room(room)
        await bob.until("room_closed", roomId=room)
        assert (await bob.ask("room", roomId=room))["code"] == "room_not_found"
        assert await code_of(announcer.server.close_room(room)) is ErrorCode.ROOM_NOT_FOUND
        assert await code_of(announcer.server.say(room, "hello", name="Quiz")) is ErrorCode.ROOM_NOT_FOUND


async def test_a_plugin_removes_and_bans_a_person(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        ids = {member["displayName"]: member["userId"] for member in (await ada.ask("members", roomId=room))["members"]}
        remove = announcer.server.remove_member
        await remove(room, ids["Bob"], ban_seconds=60)
        await bob.until("removed", roomId=room)
        assert (await bob.ask("join", roomId=room))["code"] == "banned"
        assert await code_of(remove(room, ids["Ada"])) is ErrorCode.BAD_REQUEST
        assert await code_of(remove(room, str(uuid.uuid4()))) is ErrorCode.BAD_REQUEST
        assert await code_of(remove(NOWHERE, ids["Bob"])) is ErrorCode.ROOM_NOT_FOUND
        for wrong in (-1, 31_536_001, float("nan"), float("inf"), "60"):
            assert await code_of(remove(room, ids["Bob"], ban_seconds=wrong)) is ErrorCode.BAD_REQUEST


async def test_a_call_ends_in_time_though_the_store_hangs_and_few_run_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}, limits=QUICK) as server:
        room = await server.open_room(await server.sign_in("Ada"))
        entered = 0

        async def hangs(*arguments: object) -> None:
            nonlocal entered
            entered += 1
            await trio.sleep_forever()

        object.__setattr__(server.store.messages, "append", hangs)
        late = 0

        async def say() -> None:
            nonlocal late
            with pytest.raises(StoreUnavailable):
                await announcer.server.say(room, "hello", name="Quiz")
            late += 1

        with trio.fail_after(CALL_SECONDS + 0.1):
            async with trio.open_nursery() as nursery:
                for _ in range(MOST_CALLS + 5):
                    nursery.start_soon(say)
        assert (entered, late) == (MOST_CALLS, MOST_CALLS + 5)


async def test_tokens_are_counted_over_all_servers_for_each_plugin(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    here, there, other = Announcer(), Announcer(), Announcer()
    async with (
        memory_server(memory=memory, repository=repository, plugins={"slow": here, "other": other}),
        memory_server(memory=memory, repository=repository, plugins={"slow": there}),
    ):
        take = here.server.shared.take
        assert await take("a room", 1 / 30, 1) == 0
        wait = await there.server.shared.take("a room", 1 / 30, 1)
        assert wait == pytest.approx(30, abs=0.1)
        assert await there.server.shared.take("another room", 1 / 30, 1) == 0
        assert await other.server.shared.take("a room", 1 / 30, 1) == 0
        await trio.sleep(wait + 0.01)
        assert await there.server.shared.take("a room", 1 / 30, 1) == 0


async def test_a_mark_is_taken_once_by_one_of_all_servers(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    here, there, other = Announcer(), Announcer(), Announcer()
    async with (
        memory_server(memory=memory, repository=repository, plugins={"hooks": here, "other": other}),
        memory_server(memory=memory, repository=repository, plugins={"hooks": there}),
    ):
        one, two = here.server.marks, there.server.marks
        assert not await one.take("a room")
        await one.put("a room", 10)
        assert not await other.server.marks.take("a room")
        assert await two.take("a room")
        assert not await one.take("a room")
        await two.put("a room", 10)
        assert "a room" not in repr(memory.one_time_values)
        await trio.sleep(10.1)
        assert not await one.take("a room")
        for key, seconds in (("", 1), ("k" * (KEY_CHARACTERS + 1), 1), ("k", 0), ("k", 86_401), ("k", float("nan"))):
            with pytest.raises(ValueError, match=r"a (key|mark)"):
                await one.put(key, seconds)
        memory.go_down()
        assert await code_of(one.put("k", 1)) is ErrorCode.STORE_UNAVAILABLE
        assert await code_of(one.take("k")) is ErrorCode.STORE_UNAVAILABLE


def test_what_a_plugin_drops_is_counted_as_dropped() -> None:
    plugins = Plugins.load(["quiz"], {"quiz": Announcer()})
    plugins.count_dropped("quiz", 3)
    assert plugins.statistics()["quiz"].dropped == 3


async def test_a_number_of_dropped_events_is_not_negative(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"slow": announcer}):
        announcer.server.count_dropped(0)
        with pytest.raises(ValueError, match="0 or more"):
            announcer.server.count_dropped(-1)


async def test_what_a_key_says_is_not_in_the_store(autojump_clock: MockClock) -> None:
    memory, announcer = MemoryServer(), Announcer()
    async with memory_server(memory=memory, plugins={"slow": announcer}):
        await announcer.server.shared.take("S3CR3T \ud800", 1, 1)
        buckets = list(memory.buckets)
        assert [bucket.rpartition(":")[0] for bucket in buckets] == ["plugin:slow"]
        assert "S3CR3T" not in repr(buckets)


@pytest.mark.parametrize(
    ("key", "rate", "burst"),
    [
        ("", 1, 1),
        ("k" * (KEY_CHARACTERS + 1), 1, 1),
        (b"k", 1, 1),
        ("k", 0, 1),
        ("k", -1, 1),
        ("k", float("nan"), 1),
        ("k", float("inf"), 1),
        ("k", MOST_RATE + 1, 1),
        ("k", LEAST_RATE / 2, 1),
        ("k", 5e-324, MOST_BURST),
        ("k", "1", 1),
        ("k", 1, 0),
        ("k", 1, MOST_BURST + 1),
        ("k", 1, 1.5),
    ],
)
async def test_a_limit_that_cannot_be_counted_is_refused(
    key: Any, rate: Any, burst: Any, autojump_clock: MockClock
) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"slow": announcer}):
        with pytest.raises(ValueError, match=r"a key has|a rate is|a burst is"):
            await announcer.server.shared.take(key, rate, burst)


async def test_a_plugin_with_many_rates_still_counts_each_of_them(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"slow": announcer}):
        for number in range(3 * MOST_LIMITS):
            key, rate = str(number), 1 / (1000 + number)
            assert await announcer.server.shared.take(key, rate, 1) == 0
        assert await announcer.server.shared.take("0", 1 / 1000, 1) > 900


async def test_the_lowest_rate_is_counted(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"slow": announcer}):
        take = announcer.server.shared.take
        assert await take("a room", LEAST_RATE, 1) == 0
        assert await take("a room", LEAST_RATE, 1) == pytest.approx(1 / LEAST_RATE, rel=0.01)


async def test_every_call_lets_others_run_so_that_a_loop_of_refused_calls_blocks_nobody(
    autojump_clock: MockClock,
) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}, limits=QUICK) as server:
        room, own = await server.open_room(await server.sign_in("Ada")), announcer.server
        assert await own.shared.take("leased", MOST_RATE, MOST_BURST) == 0
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: own.say(room, "hello", name="\u202e"),
            lambda: own.say("no id", "hello", name="Quiz"),
            lambda: own.close_room("no id"),
            lambda: own.remove_member("no id", "no id"),
            lambda: own.shared.take("leased", MOST_RATE, MOST_BURST),
            lambda: own.shared.take("", 1, 1),
        ]
        for call in calls:
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught


class Parrot(Announcer):
    """A filter that says something for each message; `of_services`: also for those of services."""

    evanesce_sees_content = True

    def __init__(self, *, of_services: bool) -> None:
        super().__init__()
        self._of_services = of_services

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        if self._of_services or not draft.sender_id.startswith("service:"):
            await self.server.say(draft.room_id, "Hear, hear!", name="Parrot")
        return None


async def test_a_filter_says_something(autojump_clock: MockClock) -> None:
    async with memory_server(plugins={"parrot": Parrot(of_services=False)}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        assert (await ada.ask("send", roomId=room, content="hello"))["type"] == "sent"
        assert [(await bob.until("message"))["content"] for _ in range(2)] == ["Hear, hear!", "hello"]


async def test_a_filter_that_answers_itself_fails_within_its_time_and_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    parrot = Parrot(of_services=True)
    async with memory_server(plugins={"parrot": parrot}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        with trio.fail_after(HOOK_SECONDS):
            assert (await ada.ask("send", roomId=room, content="hello"))["code"] == "internal"
        assert (await bob.ask("members", roomId=room))["type"] == "members"
        assert "abandoned" not in caplog.text


class SignsIn(Announcer):
    """Keeps the server, and signs in by a name."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Caller] = []

    @hookimpl
    def evanesce_authenticator(self) -> Authenticator:
        return NameAuthenticator()

    @hookimpl
    def evanesce_http_routes(self) -> Sequence[HttpRoute]:
        return [HttpRoute("GET", "/api/v1/who", self.answer)]

    async def answer(self, request: HttpRequest) -> HttpResponse:
        self.callers.append(await self.server.caller(request))
        return HttpResponse(b"{}")


async def test_a_route_learns_who_sent_a_request_as_the_authenticator_of_its_plugin_does() -> None:
    plugin = SignsIn()
    async with plugin_server({"names": plugin}) as server:
        ada = server.connect()
        await ada.sign_in({"provider": "name", "name": "Ada"})
        assert (await server.http("GET", "/api/v1/who", by=ada)).status == 200
        assert (await server.http("GET", "/api/v1/who")).status == 401
        [caller] = plugin.callers
        assert caller.user is not None
        assert caller.user.user_id == ada.user_id
        assert caller.address == "127.0.0.1"
        assert caller.sign_in_id is not None
        assert caller.sign_in_age is not None
        assert await caller.accounts.exists(Identity(subject="Ada", display_name="Ada")), "the provider is its own"


async def test_a_plugin_that_signs_nobody_in_has_no_callers(autojump_clock: MockClock) -> None:
    announcer = Announcer()
    async with memory_server(plugins={"quiz": announcer}):
        request = HttpRequest("GET", "/who", {}, {}, b"", None, token="a token")
        with pytest.raises(RuntimeError, match="without an authenticator"):
            await announcer.server.caller(request)
