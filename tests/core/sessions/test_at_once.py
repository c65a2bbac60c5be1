"""Messages that a connection hands over as they arrive: which are executed at once, and that others wait their turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.hookspecs import hookimpl
from evanesce.model import Draft
from evanesce.sessions.task import IDLE_SECONDS
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import TestServer, memory_server

ID = "11111111-1111-4111-8111-111111111111"


class Watched(MemoryConnection):
    """A connection that notes which frames were executed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once: list[bool] = []

    def deliver_to(self, handle: Any) -> None:
        def noted(frame: str) -> bool:
            self.at_once.append(handle(frame))
            return self.at_once[-1]

        super().deliver_to(None if handle is None else noted)


@asynccontextmanager
async def in_a_room(**options: Any) -> AsyncGenerator[tuple[TestServer, Watched, str]]:
    """Yield a server, a connection that is in a room on it, and the room's id."""
    async with memory_server(**options) as server:
        connection = Watched()
        server.serve(connection)
        await connection.ask("hello", credential={"provider": "name", "name": "Ada"})
        room = await server.open_room(connection)
        await connection.ask("join", roomId=room)
        connection.say("send", roomId=room, content="the first one asks the store how many may follow")
        await connection.until("message")
        await wait_all_tasks_blocked()
        connection.at_once.clear()
        yield server, connection, room


AT_ONCE: list[dict[str, Any]] = [{}, {"messageId": ID}, {"ttl": 5}, {"replyTo": ID}, {"content": "é" * 2_000}]


@pytest.mark.parametrize("more", AT_ONCE, ids=lambda more: " ".join(more) or "plain")
async def test_a_message_is_executed_at_once(autojump_clock: MockClock, more: dict[str, Any]) -> None:
    async with in_a_room() as (_, connection, room):
        sent = await connection.ask("send", **{"roomId": room, "content": "hello"} | more)
        assert sent["type"] == "sent"
        assert connection.at_once == [True]


LATER: list[tuple[dict[str, Any], str]] = [
    ({"type": "send", "content": " "}, "content_empty"),
    ({"type": "send", "content": "x" * 5_000}, "content_too_long"),
    ({"type": "send", "content": "x", "roomId": ID}, "not_member"),
    ({"type": "send", "content": "x", "ttl": 0.001}, "bad_request"),
    ({"type": "send", "content": 5}, "bad_request"),
    ({"type": "unknown"}, "unknown_type"),
    ({"type": "typing"}, "ok"),
    ({"type": "ping"}, "pong"),
    ({"type": "members"}, "members"),
]


@pytest.mark.parametrize(("command", "answer"), LATER, ids=lambda value: value if isinstance(value, str) else None)
async def test_everything_else_waits_its_turn_and_is_answered_as_ever(
    autojump_clock: MockClock, command: dict[str, Any], answer: str
) -> None:
    async with in_a_room() as (_, connection, room):
        kind, *rest = command.items()
        reply = await connection.ask(kind[1], **{"roomId": room} | dict(rest))
        assert answer in (reply["type"], reply.get("code"))
        assert connection.at_once == [False]


async def test_nothing_is_executed_at_once_before_the_sign_in(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        connection = Watched()
        server.serve(connection)
        await wait_all_tasks_blocked()
        assert (await connection.ask("send", roomId=ID, content="x"))["code"] == "unauthenticated"
        assert connection.at_once == [False]


class Filter:
    """Changes every message."""

    evanesce_sees_content = True

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft:
        await trio.lowlevel.checkpoint()
        return msgspec.structs.replace(draft, content="changed")


async def test_a_message_waits_for_filters(autojump_clock: MockClock) -> None:
    async with in_a_room(plugins={"filter": Filter()}) as (_, connection, room):
        connection.say("send", roomId=room, content="hello")
        assert (await connection.until("message"))["content"] == "changed"
        assert connection.at_once == [False]


async def test_the_rate_is_the_same(autojump_clock: MockClock) -> None:
    """Every message counts once, whichever way it goes; and one above the rate is refused as ever."""
    async with in_a_room(limits=LimitsTable(messages_per_second=0.1, burst=4)) as (_, connection, room):
        answers = [await connection.ask("send", roomId=room, content="hello") for _ in range(6)]
        assert [answer["type"] for answer in answers] == ["sent"] * 3 + ["error"] * 3  # one was sent before
        assert {answer["code"] for answer in answers[3:]} == {"rate_limited"}


async def test_messages_keep_their_order_with_other_commands(autojump_clock: MockClock) -> None:
    """A message that comes while another command is executed is not executed before it."""
    async with in_a_room() as (server, connection, room):
        other = await server.open_room(connection)
        for number in range(3):
            connection.say("leave", roomId=room, ref=f"leave {number}")
            connection.say("join", roomId=room, ref=f"join {number}")
            connection.say("send", roomId=room, content="hello", ref=f"send {number}")
        connection.say("join", roomId=other, ref="other")
        connection.say("send", roomId=other, content="hello", ref="to the other")
        refs: list[str] = []
        while len(refs) < 11:  # those of the other room may be earlier
            event = await connection.hear()
            if "ref" in event:
                assert event["type"] != "error", event
                refs.append(event["ref"])
        assert refs.index("other") < refs.index("to the other")
        expected = [f"{what} {number}" for number in range(3) for what in ("leave", "join", "send")]
        assert [ref for ref in refs if ref in expected] == expected


async def test_a_fault_of_a_message_is_answered_and_ends_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_a_room() as (server, connection, room):
        log = server.store.messages

        def defective(*_: object) -> None:
            raise RuntimeError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(log, "append_one", defective)
            assert (await connection.ask("send", roomId=room, content="hello"))["code"] == "internal"
        assert connection.at_once == [True]
        assert (await connection.ask("send", roomId=room, content="hello"))["type"] == "sent"


async def test_a_reply_that_a_fault_prevents_is_not_waited_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that the server ends waits for the replies to what was accepted."""
    async with in_a_room() as (server, connection, room):

        def defective(*_: object) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(server.store.messages, "append_one", defective)
        assert (await connection.ask("send", roomId=room, content="hello"))["code"] == "internal"
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.gateway.drain)
            await connection.end()
            assert trio.current_time() - before < IDLE_SECONDS


async def test_a_full_inbox_is_waited_for(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_a_room() as (server, connection, room):
        running = server.hub.running(room)
        assert running is not None
        monkeypatch.setattr(running.inbox, "_limit", 0)
        assert (await connection.ask("send", roomId=room, content="hello"))["code"] == "rate_limited"
        assert connection.at_once == [False]
        monkeypatch.undo()
        assert (await connection.ask("send", roomId=room, content="hello"))["type"] == "sent"
