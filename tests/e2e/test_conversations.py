"""The same conversation over every transport, with every client library, and between different ones."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest
import trio

from evanesce.client import open_client
from evanesce.testing import Talker, converse
from tests.conformance.test_clients import CLIENTS
from tests.docs.test_javascript import missing
from tests.e2e.clients import ChatClient
from tests.e2e.running import TRANSPORTS, Server
from tests.e2e.talkers import AsyncioTalker, DriverTalker, LibraryTalker

pytestmark = pytest.mark.slow

NAMES = ("ada", "bob", "cleo")

SCRIPT = """
    ada opens a room
    bob joins
    ada: Hello, Bob
    bob: You: here? مرحبا 👩‍💻
    cleo joins
    cleo: I have read it all
    bob leaves
    ada: He is gone
    cleo: Yes
    bob joins
    bob: I am back
"""

Meet: TypeAlias = "Callable[[Server, AsyncExitStack, trio.Nursery, str], Awaitable[Talker]]"


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def on_trio(server: Server, stack: AsyncExitStack, nursery: trio.Nursery, name: str) -> Talker:
    credential = {"provider": "guest", "displayName": name}
    return LibraryTalker(await stack.enter_async_context(open_client(server.url, credential=credential)))


async def on_asyncio(server: Server, stack: AsyncExitStack, nursery: trio.Nursery, name: str) -> Talker:
    return await stack.enter_async_context(AsyncioTalker.open(server.url, name))


def by_driver(client: str) -> Meet:
    async def meet(server: Server, stack: AsyncExitStack, nursery: trio.Nursery, name: str) -> Talker:
        if shutil.which(CLIENTS[client][0]) is None:
            missing(f"there is no {CLIENTS[client][0]} on this machine")
        account = await ChatClient.open(server, nursery, name)
        return await stack.enter_async_context(DriverTalker.open(CLIENTS[client], account, server.url))

    return meet


async def by_turns(server: Server, stack: AsyncExitStack, nursery: trio.Nursery, name: str) -> Talker:
    """Run each person with another library."""
    libraries = {"ada": on_trio, "bob": by_driver("javascript"), "cleo": on_asyncio}
    return await libraries[name](server, stack, nursery, name)


LIBRARIES: Mapping[str, Meet] = {
    "evanesce.client": on_trio,
    "evanesce.client.aio": on_asyncio,
    "@evanesce/client": by_driver("javascript"),
    "reference": by_driver("reference"),
    "one of each": by_turns,
}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_conversation(shared_server: Server, library: str) -> None:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        # Before the script: what a client opens has to outlast the step in which it is met first.
        people = {name: await LIBRARIES[library](shared_server, stack, nursery, name) for name in NAMES}

        async def meet(name: str) -> Talker:
            await trio.lowlevel.checkpoint()
            return people[name]

        await converse(SCRIPT, meet)
        nursery.cancel_scope.cancel()


def test_everybody_has_a_part() -> None:
    assert {line.split()[0].rstrip(":") for line in SCRIPT.split("\n") if line.strip()} == set(NAMES)
