"""What somebody may use before the server knows who it is, whichever transport it comes over; in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import LimitsTable
from evanesce.errors import CommandError, Rejected
from evanesce.interfaces import Caller
from evanesce.protocol import commands
from evanesce.sessions import gateway as gateway_module
from evanesce.sessions.task import CROWDED_HELLO_SECONDS
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server

CREDENTIAL = {"provider": "name", "name": "Ada"}


class LocalAuthenticator(NameAuthenticator):
    """Takes clients of this machine alone."""

    loopback_only = True


def in_one_64() -> Iterator[str]:
    return (f"2001:db8:1:2::{number:x}" for number in itertools.count(1))


def all_alike(address: str) -> Iterator[str]:
    return itertools.repeat(address)


@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1", "a /64", "unknown"])
async def test_an_address_has_so_many_connections_whatever_its_transport_counts(
    autojump_clock: MockClock, address: str
) -> None:
    addresses = in_one_64() if address == "a /64" else all_alike(address)
    async with memory_server(limits=LimitsTable(connections_per_address=2)) as server:
        first = await server.sign_in("Ada", address=next(addresses))
        await server.sign_in("Bob", address=next(addresses))
        code, reason = await server.connect(address=next(addresses)).end()
        assert (code, reason) == (4429, "Too many connections from this address. Close one of them.")
        await server.sign_in("Cleo", address="198.51.100.1")
        first.leave()
        await first.end()
        await server.sign_in("Dora", address=next(addresses))


async def test_exempt_networks_have_as_many_connections_as_they_want(autojump_clock: MockClock) -> None:
    limits = LimitsTable(connections_per_address=1, exempt_addresses=("192.0.2.0/24",))
    async with memory_server(limits=limits) as server:
        for number in range(5):
            await server.sign_in(f"person {number}", address="192.0.2.1")
        await server.sign_in("Ada", address="127.0.0.1")
        assert (await server.connect(address="127.0.0.1").end())[0] == 4429


@pytest.mark.parametrize("addresses", [in_one_64, lambda: itertools.cycle(["192.0.2.1", "::ffff:192.0.2.1"])])
async def test_a_64_is_one_address_to_the_limit_of_sign_ins(autojump_clock: MockClock, addresses: object) -> None:
    assert callable(addresses)
    every: Iterator[str] = addresses()
    async with memory_server(limits=LimitsTable(sign_ins_per_minute=3)) as server:
        for _ in range(3):
            await server.gateway.sign_in(CREDENTIAL, bearer=None, address=next(every))
        with pytest.raises(CommandError) as caught:
            await server.gateway.sign_in(CREDENTIAL, bearer=None, address=next(every))
        assert caught.value.code == "rate_limited"
        connection = server.connect(address=next(every))
        assert (await connection.ask("hello", credential=CREDENTIAL))["code"] == "rate_limited"
        await server.gateway.sign_in(CREDENTIAL, bearer=None, address="2001:db8:1:3::1")


async def refused_everywhere(server: TestServer, *, local: bool) -> list[str]:
    """Try to sign in by every way that there is; give the codes of what was refused."""
    codes: list[str] = []
    connection = server.connect(local=local)
    for answer in (
        await connection.ask("challenge", provider="name"),
        await connection.ask("hello", credential=CREDENTIAL),
    ):
        if answer["type"] == "error":
            codes.append(answer["code"])
    try:
        await server.gateway.sign_in(CREDENTIAL, bearer=None, address="127.0.0.1", local=local)
    except CommandError as error:
        codes.append(error.code)
    try:
        challenge = commands.Challenge(provider="name", request={})
        await server.gateway.execute(challenge, bearer=None, address="127.0.0.1", local=local)
    except CommandError as error:
        codes.append(error.code)
    return codes


async def test_who_is_not_on_this_machine_is_refused_by_a_provider_that_proves_nothing(
    autojump_clock: MockClock,
) -> None:
    async with memory_server(authenticators={"name": LocalAuthenticator()}) as server:
        assert await refused_everywhere(server, local=True) == []
        assert await refused_everywhere(server, local=False) == ["forbidden"] * 4
        with pytest.raises(CommandError, match=r"plugins\.name"):
            await server.gateway.sign_in(CREDENTIAL, bearer=None, address="127.0.0.1")  # who does not know is not local
    async with memory_server() as server:
        assert await refused_everywhere(server, local=False) == []


async def test_an_authenticator_is_told_whether_its_caller_is_local(autojump_clock: MockClock) -> None:
    seen: list[bool] = []

    class Asking(NameAuthenticator):
        async def authenticate(self, credential: object, caller: Caller, answered: object) -> object:  # type: ignore[override]
            seen.append(caller.local)
            return await super().authenticate(CREDENTIAL, caller, None)

    async with memory_server(authenticators={"name": Asking()}) as server:
        for local in (True, False):
            await server.sign_in("Ada", local=local)
    assert seen == [True, False]


@pytest.mark.parametrize("method", ["challenge", "authenticate"])
async def test_an_authenticator_may_say_when_to_try_again(method: str, autojump_clock: MockClock) -> None:
    class Busy(NameAuthenticator):
        pass

    async def refuse(self: object, *arguments: object) -> None:
        raise Rejected("Come back later.", retry_after=7)

    setattr(Busy, method, refuse)
    asked = {"provider": "name"} if method == "challenge" else {"credential": CREDENTIAL}
    async with memory_server(authenticators={"name": Busy()}) as server:
        refused = await server.connect().ask("challenge" if method == "challenge" else "hello", **asked)
        assert (refused["code"], refused["message"], refused["retryAfter"]) == ("rejected", "Come back later.", 7)


async def test_the_time_for_hello_counts_from_the_connection(autojump_clock: MockClock) -> None:
    async with memory_server() as server, trio.open_nursery() as nursery:
        await trio.sleep(100)
        connection = MemoryConnection()

        async def serve() -> None:
            await server.gateway.serve(connection, connected_at=trio.current_time() - 7)

        nursery.start_soon(serve)
        began = trio.current_time()
        assert (await connection.end())[0] == 4408
        assert 3 <= trio.current_time() - began <= 3.6


async def test_a_crowd_that_says_no_hello_has_little_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "MOST_SILENT", 10)
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        began = trio.current_time()
        crowd = [server.connect() for _ in range(20)]
        for connection in crowd:
            assert (await connection.end())[0] == 4408
        assert CROWDED_HELLO_SECONDS <= trio.current_time() - began <= CROWDED_HELLO_SECONDS + 1.1
        few = [server.connect() for _ in range(5)]
        await trio.sleep(5)
        assert all(connection.closed for connection in few), "the last of a crowd have no more time"
        await trio.sleep(10)
        later = [server.connect() for _ in range(5)]
        await trio.sleep(5)
        assert all(connection.closed is None for connection in later)
        assert (await ada.ask("ping"))["type"] == "pong"
