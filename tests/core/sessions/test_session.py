"""Sessions in virtual time: who may say what when, and how a connection ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import LimitsTable, ServerTable
from evanesce.interfaces import Answered, Caller, Readiness
from evanesce.model import Identity
from evanesce.protocol import commands
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, memory_server

pytestmark = pytest.mark.slow

SECRET = "a secret for tests, of 32 characters"
NOWHERE = "00000000-0000-4000-8000-000000000000"


async def test_welcome_says_what_the_client_needs_to_know(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        welcome = await connection.ask("hello", credential={"provider": "name", "name": "Ada"})
        assert welcome["displayName"] == "Ada"
        assert welcome["messageTtl"] == 60
        assert welcome["heartbeat"] == 25
        assert welcome["tokenExpiresAt"] > welcome["serverTime"]
        assert welcome["limits"] == {
            "contentBytes": 4096,
            "frameBytes": 65536,
            "history": 500,
            "roomsPerConnection": 50,
            "shortestTtl": 1,
            "longestTtl": 86_400,
            "messagesPerSecond": 5,
            "burst": 20,
            "commandsPerSecond": 50,
            "joinsPerSecond": 5,
            "membersPerSecond": 2,
            "renamesPerMinute": 6,
            "roomsPerHour": 60,
            "roomsPerUser": 100,
            "connectionsPerUser": 10,
            "connectionsPerAddress": 100,
            "handshakesPerSecond": 20,
            "commandsBeforeHello": 10,
            "signInsPerMinute": 30,
        }
        again = server.connect()
        second = await again.ask("hello", token=welcome["token"])
        assert second["userId"] == welcome["userId"]
        assert "token" not in second


async def test_before_hello_only_ping_and_challenge_are_answered(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        assert (await connection.ask("ping"))["type"] == "pong"
        challenge = await connection.ask("challenge", provider="name", purpose="x")
        assert challenge == {"type": "challenge", "ref": "ask-challenge", "asked": {"purpose": "x"}, "caller": None}
        for command, fields in [
            ("refresh", {}),
            ("sign_out", {}),
            ("create_room", {}),
            ("room", {"roomId": NOWHERE}),
            ("rooms", {}),
            ("join", {"roomId": NOWHERE}),
            ("leave", {"roomId": NOWHERE}),
            ("send", {"roomId": NOWHERE, "content": "x"}),
            ("unsend", {"roomId": NOWHERE, "messageId": NOWHERE}),
            ("typing", {"roomId": NOWHERE}),
            ("members", {"roomId": NOWHERE}),
            ("close_room", {"roomId": NOWHERE}),
            ("profile", {}),
            ("update_profile", {}),
            ("forget_me", {}),
        ]:
            error = await connection.ask(command, **fields)
            assert (error["code"], error["retry"]) == ("unauthenticated", False), command


@pytest.mark.parametrize(
    ("hello", "code", "field"),
    [
        ({}, "bad_request", "token"),
        ({"credential": {}}, "bad_request", "credential.provider"),
        ({"credential": {"provider": "nothing"}}, "unknown_provider", None),
        ({"credential": {"provider": "name"}}, "bad_request", "credential"),
        ({"credential": {"provider": "name", "name": "nobody"}}, "auth_failed", None),
        ({"credential": {"provider": "name", "name": "x" * 65}}, "bad_request", "credential.displayName"),
    ],
)
async def test_a_hello_that_fails_leaves_the_connection(
    autojump_clock: MockClock, hello: dict[str, Any], code: str, field: str | None
) -> None:
    async with memory_server() as server:
        connection = server.connect()
        error = await connection.ask("hello", **hello)
        assert (error["code"], error.get("field")) == (code, field)
        assert (await connection.ask("hello", credential={"provider": "name", "name": "Ada"}))["type"] == "welcome"


async def test_an_invalid_token_ends_the_connection(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        assert (await connection.ask("hello", token="nonsense"))["code"] == "invalid_token"
        assert (await connection.until("goodbye"))["reconnect"] is False
        assert (await connection.end())[0] == 4401


async def test_a_bearer_token_of_the_handshake_is_enough(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        token = (await server.connect().ask("hello", credential={"provider": "name", "name": "Ada"}))["token"]
        connection = server.connect(bearer=token)
        assert (await connection.ask("hello"))["displayName"] == "Ada"
        refused = server.connect(bearer="nonsense")
        assert (await refused.end())[0] == 4401


async def test_a_further_hello_extends_the_same_user_only(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        newer = await ada.ask("refresh")
        assert newer["type"] == "token"
        assert (await ada.ask("hello", token=newer["token"]))["type"] == "welcome"
        assert (await ada.ask("hello", credential={"provider": "name", "name": "Ada"}))["type"] == "welcome"
        bob = (await server.connect().ask("hello", credential={"provider": "name", "name": "Bob"}))["token"]
        assert (await ada.ask("hello", token=bob))["code"] == "forbidden"
        assert (await ada.ask("profile"))["displayName"] == "Ada"


async def test_no_hello_in_time(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        began = trio.current_time()
        assert (await connection.end())[0] == 4408
        assert trio.current_time() - began == pytest.approx(10)


async def test_pings_find_a_client_that_is_gone_within_two_heartbeats(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        lively, dead = await server.sign_in("Ada"), await server.sign_in("Bob")
        dead.answers_pings = False
        began = trio.current_time()
        assert (await dead.end())[0] == 4408
        assert trio.current_time() - began <= 50.1
        assert lively.pings >= 1
        assert lively.closed is None


class SlowAuthenticator(NameAuthenticator):
    """Takes 40 s to find out who somebody is that is signed in already."""

    timeout = 60.0

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        if caller.user is not None:
            await trio.sleep(40)
        return await super().authenticate(credential, caller, answered)


async def test_who_waits_for_the_server_is_not_taken_for_silent(autojump_clock: MockClock) -> None:
    async with memory_server(authenticators={"name": SlowAuthenticator()}) as server:
        connection = server.connect()
        credential = {"provider": "name", "name": "Ada"}
        await trio.sleep(9)
        assert (await connection.ask("hello", credential=credential))["type"] == "welcome"
        began = trio.current_time()
        assert (await connection.ask("hello", credential=credential))["type"] == "welcome"
        assert trio.current_time() - began == pytest.approx(40)
        await trio.sleep(100)
        assert connection.pings >= 3
        assert connection.closed is None


async def test_ceaseless_input_is_no_hello(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = server.connect()
        began = trio.current_time()
        while connection.closed is None:
            connection.say("ping")
            await trio.sleep(0.01)
        assert connection.closed[0] == 4408
        assert trio.current_time() - began == pytest.approx(10, abs=0.6)


class BrokenConnection(MemoryConnection):
    def ping(self) -> None:
        raise RuntimeError("a transport's fault")


async def test_a_transport_that_fails_to_ping_loses_one_client(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        monkeypatch.setattr("evanesce.testing.server.MemoryConnection", BrokenConnection)
        bob = await server.sign_in("Bob")
        assert (await bob.end())[0] == 1011
        await trio.sleep(100)
        assert ada.pings >= 4
        assert (await ada.ask("ping"))["type"] == "pong"


async def test_a_token_that_runs_out_ends_the_connection_within_a_second(autojump_clock: MockClock) -> None:
    async with memory_server(server=ServerTable(secret=SECRET, token_hours=1)) as server:
        connection = await server.sign_in("Ada")
        other = await server.sign_in("Ada")
        began = trio.current_time()
        await trio.sleep_until(began + 3300)
        newer = (await other.ask("refresh"))["token"]
        await other.ask("hello", token=newer)
        assert (await connection.end())[0] == 4401
        assert trio.current_time() - began == pytest.approx(3600, abs=1.01)
        assert other.closed is None


async def test_refresh_ends_with_the_sign_in(autojump_clock: MockClock) -> None:
    table = ServerTable(secret=SECRET, token_hours=24, refresh_days=1)
    async with memory_server(server=table) as server:
        connection = await server.sign_in("Ada")
        await trio.sleep(23 * 3600)
        token = (await connection.ask("refresh"))["token"]
        await connection.ask("hello", token=token)
        await trio.sleep(2 * 3600)
        assert (await connection.ask("refresh"))["code"] == "unauthenticated"


async def test_sign_out_makes_all_tokens_of_the_sign_in_worthless(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        first = server.connect()
        token = (await first.ask("hello", credential={"provider": "name", "name": "Ada"}))["token"]
        refreshed = (await first.ask("refresh"))["token"]
        second, other_sign_in = server.connect(), await server.sign_in("Ada")
        await second.ask("hello", token=refreshed)
        assert (await first.ask("sign_out"))["type"] == "ok"
        assert (await first.end())[0] == 4401
        assert (await second.end())[0] == 4401
        assert other_sign_in.closed is None
        for worthless in (token, refreshed):
            connection = server.connect()
            assert (await connection.ask("hello", token=worthless))["code"] == "invalid_token"


async def test_tokens_that_come_together_are_looked_up_each_for_itself(autojump_clock: MockClock) -> None:
    """After a restart all clients come back at once; some may have signed out on another server meanwhile."""
    async with memory_server() as server:
        tokens: dict[str, str] = {}
        for name in ("Ada", "Bob", "Cy", "Dee"):
            connection = server.connect()
            tokens[name] = (await connection.ask("hello", credential={"provider": "name", "name": name}))["token"]
            if name == "Cy":
                await connection.ask("sign_out")
            if name == "Dee":
                await connection.ask("forget_me")
        answers: dict[str, dict[str, Any]] = {}

        async def come_back(name: str) -> None:
            answers[name] = await server.connect().ask("hello", token=tokens[name])

        async with trio.open_nursery() as nursery:
            for name in tokens:
                nursery.start_soon(come_back, name)
        assert {name: answer.get("displayName", answer.get("code")) for name, answer in answers.items()} == {
            "Ada": "Ada",
            "Bob": "Bob",
            "Cy": "invalid_token",
            "Dee": "invalid_token",
        }


async def test_forget_me_erases_and_ends_everywhere(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, also_ada, bob = [await server.sign_in(name) for name in ("Ada", "Ada", "Bob")]
        room = await server.open_room(ada)
        await bob.ask("join", roomId=room)
        assert (await ada.ask("forget_me"))["type"] == "ok"
        assert (await ada.end())[0] == 4401
        assert (await also_ada.end())[0] == 4401
        assert (await bob.until("room_closed"))["roomId"] == room
        assert (await bob.ask("room", roomId=room))["code"] == "room_not_found"
        assert [user.display_name for user in server.repository.users.values()] == ["Bob"]


async def test_signing_out_counts_while_the_store_is_down(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        first = server.connect()
        token = (await first.ask("hello", credential={"provider": "name", "name": "Ada"}))["token"]
        second = server.connect()
        await second.ask("hello", token=token)
        memory.go_down()
        assert (await first.ask("sign_out"))["type"] == "ok"
        assert (await second.end())[0] == 4401
        memory.come_back()


async def test_a_new_name_counts_for_what_comes_behind_it(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, also_ada = await server.sign_in("Ada"), await server.sign_in("Ada")
        room = await server.open_room(ada)
        for connection in (ada, also_ada):
            await connection.ask("join", roomId=room)
        ada.say("update_profile", displayName="Ida")
        ada.say("send", roomId=room, content="x")
        await trio.sleep(1)
        events = also_ada.waiting()
        assert [event["senderName"] for event in events if event["type"] == "message"] == ["Ida"]
        assert [event["displayName"] for event in events if event["type"] == "member_updated"] == ["Ida"]


async def test_an_older_token_takes_nothing_back(autojump_clock: MockClock) -> None:
    async with memory_server(server=ServerTable(secret=SECRET, token_hours=1)) as server:
        connection = server.connect()
        old = (await connection.ask("hello", credential={"provider": "name", "name": "Ada"}))["token"]
        await trio.sleep(1800)
        await connection.ask("hello", token=(await connection.ask("refresh"))["token"])
        await connection.ask("hello", token=old)
        await trio.sleep(2400)
        assert connection.closed is None


async def test_a_session_lasts_no_longer_than_the_sign_in_that_it_has_now(autojump_clock: MockClock) -> None:
    async with memory_server(server=ServerTable(secret=SECRET, token_hours=1)) as server:
        earlier = (await server.connect().ask("hello", credential={"provider": "name", "name": "Ada"}))["token"]
        await trio.sleep(1800)
        connection = await server.sign_in("Ada")
        await connection.ask("hello", token=earlier)
        await trio.sleep(1799)
        assert connection.closed is None
        await trio.sleep(2)
        assert (await connection.end())[0] == 4401


async def test_a_hello_that_is_forbidden_makes_no_account(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        error = await connection.ask("hello", credential={"provider": "name", "name": "Bob"})
        assert error["code"] == "forbidden"
        assert [user.display_name for user in server.repository.users.values()] == ["Ada"]


async def test_a_provider_may_ask_for_any_field(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        challenge = await server.connect().ask("challenge", provider="name", request=5)
        assert challenge["asked"] == {"request": 5}


async def test_only_bad_frames_in_a_row_count(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        for _ in range(2):
            for _ in range(15):
                connection.send("x")
            await connection.ask("dance")
        assert connection.closed is None
        for _ in range(900):
            connection.say("dance")
        assert (await connection.end())[0] == 4429


async def test_profile_and_its_rules(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        await bob.ask("join", roomId=room)
        changed = await ada.ask("update_profile", displayName="  Ada L. ", email="ada@example.org")
        assert (changed["displayName"], changed["email"]) == ("Ada L.", "ada@example.org")
        updated = await bob.until("member_updated")
        assert updated["displayName"] == "Ada L."
        await ada.ask("send", roomId=room, content="hello")
        assert (await bob.until("message"))["senderName"] == "Ada L."
        assert "email" not in await ada.ask("update_profile", email=None)
        assert (await ada.ask("update_profile", displayName=" "))["field"] == "displayName"
        assert (await ada.ask("update_profile", email="nonsense"))["field"] == "email"
        assert (await ada.ask("update_profile", displayName=None))["code"] == "bad_request"


async def test_bad_frames_get_errors_and_twenty_in_a_row_end_the_connection(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        for frame in ["", "x", "[]", "{", "1", b"{}", "[" * 40 + "]" * 40]:
            connection.send(frame)
            assert (await connection.hear())["code"] == "bad_frame"
        assert (await connection.ask("ping"))["type"] == "pong"
        for _ in range(20):
            connection.send("x")
        assert (await connection.end())[0] == 4400


async def test_an_unknown_command_keeps_its_ref(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        assert (await connection.ask("dance"))["code"] == "unknown_type"
        error = await connection.ask("join", roomId="nonsense")
        assert (error["code"], error["field"]) == ("bad_request", "roomId")


async def test_too_many_connections_of_one_user(autojump_clock: MockClock) -> None:
    async with memory_server(limits=LimitsTable(connections_per_user=2)) as server:
        first = await server.sign_in("Ada")
        await server.sign_in("Ada")
        third = server.connect()
        third.say("hello", credential={"provider": "name", "name": "Ada"})
        goodbye = await third.until("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == (4429, False)
        assert "reconnectAfter" not in goodbye
        assert (await third.end())[0] == 4429
        first.leave()
        await first.end()
        assert (await (await server.sign_in("Ada")).ask("ping"))["type"] == "pong"


async def test_messages_above_the_rate_are_refused_and_far_above_it_end_the_connection(
    autojump_clock: MockClock,
) -> None:
    async with memory_server(limits=LimitsTable(messages_per_second=2, burst=3)) as server:
        ada, also_ada = await server.sign_in("Ada"), await server.sign_in("Ada")
        room = await server.open_room(ada)
        for connection in (ada, also_ada):
            await connection.ask("join", roomId=room)
        for connection in (ada, also_ada, ada):
            assert (await connection.ask("send", roomId=room, content="x"))["type"] == "sent"
        refused = await also_ada.ask("send", roomId=room, content="x")
        assert (refused["code"], refused["retry"]) == ("rate_limited", True)
        await trio.sleep(refused["retryAfter"])
        assert (await also_ada.ask("send", roomId=room, content="x"))["type"] == "sent"
        for _ in range(900):
            ada.say("send", roomId=room, content="x")
        assert (await ada.end())[0] == 4429


async def test_sign_ins_are_limited_by_address(autojump_clock: MockClock) -> None:
    async with memory_server(limits=LimitsTable(sign_ins_per_minute=2)) as server:
        for name in ("Ada", "Bob"):
            await server.sign_in(name, address="192.0.2.1")
        connection = server.connect(address="192.0.2.1")
        refused = await connection.ask("hello", credential={"provider": "name", "name": "Eve"})
        assert refused["code"] == "rate_limited"
        await server.sign_in("Eve", address="192.0.2.2")


async def test_the_database_down_is_said_and_rooms_go_on(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with memory_server(repository=repository) as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        repository.state = "down"
        for command in ("create_room", "rooms", "profile"):
            error = await ada.ask(command)
            assert (error["code"], error["retry"]) == ("persistence_unavailable", True)
        assert (await bob.ask("join", roomId=room))["type"] == "joined"
        await ada.ask("send", roomId=room, content="still here")
        assert (await bob.until("message"))["content"] == "still here"
        readiness = await server.gateway.readiness()
        assert readiness == Readiness("degraded", {"redis": "up", "database": "down", "name": "up"})
        repository.state = "up"


async def test_readiness_without_the_store(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        assert (await server.gateway.readiness()).status == "ready"
        memory.go_down()
        readiness = await server.gateway.readiness()
        assert (readiness.status, readiness.serving) == ("unavailable", False)
        memory.come_back()


async def test_a_fault_in_a_command_is_its_own(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise ZeroDivisionError("secret text")

    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        monkeypatch.setattr(server.repository, "rooms", broken)
        error = await connection.ask("rooms")
        assert (error["code"], error["retry"]) == ("internal", True)
        assert "secret" not in error["message"]
        assert (await connection.ask("ping"))["type"] == "pong"
        assert 'evanesce_faults_total{where="command"} 1.0' in server.gateway.metrics()


async def test_a_fault_in_a_connection_ends_it_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server() as server:
        broken, sound = await server.sign_in("Ada"), await server.sign_in("Bob")

        def fail() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(broken, "ping", fail)
        assert (await broken.end())[0] == 1011
        assert (await sound.ask("ping"))["type"] == "pong"


async def test_draining_sends_everyone_away(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connections = [await server.sign_in(name) for name in ("Ada", "Bob")]
        silent = server.connect()
        await server.gateway.drain()
        for connection in (*connections, silent):
            goodbye = await connection.until("goodbye")
            assert (goodbye["code"], goodbye["reconnect"]) == (1001, True)
            assert (await connection.end())[0] == 1001
        late = server.connect()
        assert (await late.end())[0] == 1001
        assert (await server.gateway.readiness()).status == "draining"


async def test_what_was_accepted_is_answered_before_the_server_goes(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        ada, bob = await server.sign_in("Ada"), await server.sign_in("Bob")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        await bob.ask("join", roomId=room)
        await ada.ask("send", roomId=room, content="first words")  # with it comes the right to say more
        memory.hold_answers()
        ada.say("send", roomId=room, content="last words", ref="last")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.gateway.drain)
            await trio.testing.wait_all_tasks_blocked()
            memory.release_answers()
        seen = [event.get("ref", event["type"]) for event in ada.waiting()]
        assert seen.index("last") < seen.index("goodbye")
        received = [event.get("content", event["type"]) for event in bob.waiting()]
        assert received.index("last words") < received.index("goodbye")


async def test_a_restart_says_so(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        await server.gateway.drain(restarting=True)
        assert (await connection.end())[0] == 1012


async def test_a_client_that_leaves(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = await server.sign_in("Ada")
        connection.leave()
        assert await connection.end() == (1000, "")


async def test_a_request_without_a_connection(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        signed_in = await server.gateway.sign_in({"provider": "name", "name": "Ada"}, bearer=None, address="127.0.0.1")
        assert signed_in.created
        token = str(signed_in.reply.token)
        again = await server.gateway.sign_in({"provider": "name", "name": "Ada"}, bearer=token, address="127.0.0.1")
        assert not again.created
        user = await server.gateway.identify(token)
        assert user is not None
        assert user.display_name == "Ada"
        assert await server.gateway.identify(None) is None
        with pytest.raises(Exception, match="needs a connection"):
            await server.gateway.execute(commands.Join(room_id=NOWHERE), bearer=token, address="127.0.0.1")
        with pytest.raises(Exception, match="Sign in first"):
            await server.gateway.execute(commands.GetProfile(), bearer=None, address="127.0.0.1")


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://chat.example", True),
        ("https://chat.example:443", False),
        ("https://chat.example.evil.test", False),
        ("https://evil-chat.example", False),
        ("http://chat.example", False),
        ("https://CHAT.example", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:8001", False),
        ("null", False),
        ("", False),
        ("https://chat.example.", False),
        ("https://chat.example/", False),
        ("https://chat.example/r", False),
        ("https://chat.example:8443", False),
        ("https://chat.example:", False),
        ("https://a.chat.example", False),
        ("https://example", False),
        ("https://chat.example@evil.test", False),
        ("https://chat.example:443@evil.test", False),
        ("https://chat.example#evil.test", False),
        ("https://chat.example\\.evil.test", False),
        ("https://chat.example%00.evil.test", False),
        ("https://chat.example https://evil.test", False),
        ("https://chat.exampl\u0435", False),
        ("HTTPS://chat.example", False),
        ("//chat.example", False),
        ("chat.example", False),
        ("wss://chat.example", False),
        ("file://", False),
        ("http://localhost.evil.test:8000", False),
        ("http://127.0.0.1.evil.test:8000", False),
    ],
)
async def test_origins(autojump_clock: MockClock, origin: str, admitted: bool) -> None:
    table = ServerTable(secret=SECRET, origins=("https://chat.example",))
    async with memory_server(server=table) as server:
        assert server.gateway.admits_origin(origin) is admitted


async def test_last_active_moves(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection: MemoryConnection = await server.sign_in("Ada")
        [before] = server.repository.users.values()
        await trio.sleep(20)
        await connection.ask("profile")
        await trio.sleep(2)
        [after] = server.repository.users.values()
        assert after.last_active > before.last_active
