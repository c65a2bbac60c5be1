"""Clients in a room of a server in memory."""

from __future__ import annotations

from typing import Any

from trio.testing import wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import TestServer

NOWHERE = "00000000-0000-4000-8000-000000000000"
QUICK = LimitsTable(messages_per_second=10_000, burst=10_000, commands_per_second=10_000)


async def join_room(server: TestServer, *names: str) -> tuple[str, list[MemoryConnection]]:
    """Sign users in, and join them to a room that the first one has created."""
    connections = [await server.sign_in(name) for name in names]
    room = await server.open_room(connections[0])
    for connection in connections:
        assert (await connection.ask("join", roomId=room))["type"] == "joined"
    await wait_all_tasks_blocked()
    for connection in connections:
        connection.waiting()
    return room, connections


def contents(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"] for event in events if event["type"] == "message"]


def of_type(client: MemoryConnection, kind: str) -> list[dict[str, Any]]:
    """Return the events of a type that wait for a client, without `type`; the others are gone too."""
    return [
        {name: value for name, value in event.items() if name != "type"}
        for event in client.waiting()
        if event["type"] == kind
    ]


async def user_id(client: MemoryConnection) -> str:
    found: str = (await client.ask("profile"))["userId"]
    return found


async def refusal(client: MemoryConnection, kind: str, **fields: Any) -> tuple[str, float | None]:
    """Ask for what is refused; return the code, and when it may be tried again."""
    error = await client.ask(kind, **fields)
    assert error["type"] == "error", error
    return error["code"], error.get("retryAfter")


async def come_in(server: TestServer, name: str, room: str, **fields: Any) -> MemoryConnection:
    """Sign in and join; the caller hears the answer."""
    client = await server.sign_in(name)
    assert (await client.ask("join", roomId=room, **fields))["type"] == "joined"
    return client
