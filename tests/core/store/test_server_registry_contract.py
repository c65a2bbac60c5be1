"""What every server registry does, in memory, on one Redis and on a cluster."""

from __future__ import annotations

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import timestamp
from evanesce.store import Store
from evanesce.store.memory import server_registry
from evanesce.store.redis import lease
from evanesce.store.server_registry import RENEWED_SECONDS
from tests.core.store.backends import Backend, RedisBackend, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def brief_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of 1 s."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(server_registry, "LEASE_SECONDS", 1.0)


async def wait_for_lease(name: str, store: Store) -> None:
    """Wait until `store` returns that the lease of a server is valid."""

    async def known() -> bool:
        servers = await store.servers.expiries() or {}
        return servers.get(name, "") > timestamp(store.clock.now())

    await eventually(known)


@pytest.mark.usefixtures("brief_leases")
async def test_a_server_lives_under_a_name_of_its_own_until_it_ends(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await wait_for_lease(one.servers.server_name, two)
    await wait_for_lease(two.servers.server_name, one)
    await backend.close(one)
    known = await two.servers.expiries()
    assert known is not None
    assert known[one.servers.server_name] <= timestamp(two.clock.now())
    again = await backend.open("one")
    assert again.servers.server_name != one.servers.server_name
    await wait_for_lease(again.servers.server_name, two)


@pytest.mark.usefixtures("brief_leases")
async def test_who_lives_is_not_known_right_after_the_memory_was_lost(backend: Backend) -> None:
    store, gone = await backend.open("one"), await backend.open("gone")
    await wait_for_lease(gone.servers.server_name, store)
    await backend.close(gone)
    backend.forget()

    async def unknown() -> bool:
        try:
            return await store.servers.expiries() is None
        except StoreUnavailable:
            return False

    await eventually(unknown)
    await wait_for_lease(store.servers.server_name, store)
    known = await store.servers.expiries()
    assert known is not None
    assert known.keys() == {store.servers.server_name}


async def test_which_servers_run_is_known_again_soon_after_the_memory_was_lost(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lease.RENEW_SECONDS < RENEWED_SECONDS < lease.LEASE_SECONDS
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one, two, gone = [await backend.open(name) for name in ("one", "two", "gone")]
    names = {store.servers.server_name for store in (one, two, gone)}

    async def all_run() -> bool:
        try:
            return set(await one.servers.running()) == names
        except StoreUnavailable:
            return False

    await eventually(all_run)
    await backend.close(gone)
    names.discard(gone.servers.server_name)
    await eventually(all_run)
    backend.forget()
    await eventually(all_run)


async def test_a_duty_is_one_servers_and_for_a_while(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert [await store.servers.claim("sweep", 2) for store in (one, two, one)] == [True, False, False]
    assert await two.servers.claim("another", 60)

    async def free() -> bool:
        return await two.servers.claim("sweep", 60)

    await eventually(free)
    assert not await one.servers.claim("sweep", 60)


async def test_servers_tell_each_other_what_they_are_set_to(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.servers.other_settings() == {}
    await one.servers.publish_settings({"messages.ttl": "30"})
    await one.servers.publish_settings({"messages.ttl": "60", "server.secret": "abc"})
    assert await two.servers.other_settings() == {
        one.servers.server_name: {"messages.ttl": "60", "server.secret": "abc"}
    }
    assert await one.servers.other_settings() == {}, "nothing of its own"
    await two.servers.publish_settings({"messages.ttl": "60"})
    assert await one.servers.other_settings() == {two.servers.server_name: {"messages.ttl": "60"}}
    await backend.close(one)
    assert await two.servers.other_settings() == {}


async def test_every_server_reads_the_status_of_all_and_of_none_that_has_ended(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.servers.statuses() == {}
    for status in (b'{"old":1}', b'{"new":1}'):
        await one.servers.publish_status(status)
    await two.servers.publish_status(b"{}")
    for store in (one, two):
        assert await store.servers.statuses() == {one.servers.server_name: b'{"new":1}', two.servers.server_name: b"{}"}
    assert await two.servers.other_settings() == {}, "they are kept apart"
    await backend.close(one)
    assert await two.servers.statuses() == {two.servers.server_name: b"{}"}


async def test_what_servers_told_that_are_gone_is_not_believed_and_does_not_stay(valkey: RedisBackend) -> None:
    key = "evanesce:{servers}:settings"
    now = valkey.client.time()[0] * 1000
    told = {"killed": now - 20_000, "long-ago": now - 70_000, "other-clock": now + 70_000, "lives": now - 1_000}
    for name, at in told.items():
        valkey.client.hset(key, name, f'[{at},{{"messages.ttl":"30"}}]')
    valkey.client.hset(key, "another-version", '{"messages.ttl": 30}')
    store = await valkey.open()
    assert await store.servers.other_settings() == {"lives": {"messages.ttl": "30"}}
    assert set(valkey.client.hkeys(key)) == {b"killed", b"lives", b"another-version"}
    await store.servers.publish_settings({})
    assert 50_000 < valkey.client.pttl(key) <= 60_000


async def test_a_memory_has_one_identity_and_a_new_one_after_it_was_lost(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.servers.identity() is None
    assert await one.servers.identity("first") == "first"
    assert await two.servers.identity() == "first"
    assert await two.servers.identity("second") == "first"
    backend.forget()
    assert await answered(two, "second") == "second"
    assert await answered(one) == "second"


async def answered(store: Store, proposed: str | None = None) -> str | None:
    """Ask for the identity as soon as the store answers again."""
    with trio.fail_after(60):
        while True:
            try:
                return await store.servers.identity(proposed)
            except StoreUnavailable:
                await trio.sleep(0.05)
