"""One message that lives long does not keep what names those that have ended since, so that joining stays fast."""

from __future__ import annotations

import pytest
import trio

from evanesce.store import Store
from evanesce.store.message_log import History, RoomClosed
from evanesce.store.redis import eraser, lease
from evanesce.store.redis.plan import REMOVED
from tests.core.store.backends import ALL, RedisBackend, draft, eventually, python
from tests.core.store.test_expiry import fill
from tests.core.store.test_mixed_expiry import LONG, send_order

pytestmark = pytest.mark.slow

MANY = 4_000


def length(valkey: RedisBackend, room_id: str) -> int:
    return int(valkey.client.xlen(f"evanesce:{{{room_id}}}:index"))


def messages(valkey: RedisBackend, room_id: str) -> int:
    return len(valkey.client.keys(f"evanesce:{{{room_id}}}:message:*"))


async def history(store: Store, room_id: str, since: str | None) -> History:
    page = await store.messages.history(room_id, since, *ALL)
    assert not isinstance(page, RoomClosed)
    return page


async def check_history(store: Store, room_id: str, since: str, sent: int, alive: int) -> None:
    whole, rest = await history(store, room_id, None), await history(store, room_id, since)
    assert (len(whole.messages), whole.missed, whole.more) == (alive, 0, False)
    assert (len(rest.messages), rest.missed, rest.missed_unsent, rest.more) == (alive, sent - alive, 0, False)
    assert rest.number == whole.number


async def test_the_index_is_short_once_they_have_ended_and_counts_stay_exact(
    valkey: RedisBackend, room_id: str
) -> None:
    """Two servers send to the room, and each removes what it has read."""
    one, two = await valkey.open("one"), await valkey.open("two")
    start = (await history(one, room_id, None)).cursor
    await send_order(one, room_id, [LONG])
    for store in (one, two):
        await send_order(store, room_id, [1.0] * (MANY // 2), 100)
    await eventually(lambda: messages(valkey, room_id) == 1)
    await eventually(lambda: length(valkey, room_id) <= 1 + REMOVED)
    await check_history(two, room_id, start, MANY + 1, 1)
    middle = (await history(one, room_id, None)).cursor  # that of the long message
    await send_order(two, room_id, [0.5] * 300 + [LONG])
    await eventually(lambda: messages(valkey, room_id) == 2)
    await check_history(one, room_id, start, MANY + 302, 2)
    page = await history(one, room_id, middle)
    assert (len(page.messages), page.missed) == (1, MANY + 300)


async def test_that_a_message_was_unsent_is_told_for_as_long_as_before(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    long, short = draft(room_id), draft(room_id)
    await store.messages.append(room_id, [long, short], round(LONG * 1000))
    seen = (await history(store, room_id, None)).cursor
    await send_order(store, room_id, [LONG])
    assert await store.messages.unsend(room_id, long.message_id, "ada") is True
    await send_order(store, room_id, [0.5] * 1_000, 100)
    await eventually(lambda: messages(valkey, room_id) == 2)
    await eventually(lambda: length(valkey, room_id) <= 4 + REMOVED)
    page = await history(store, room_id, seen)
    assert [each.message_id for each in page.unsent] == [long.message_id]
    assert (len(page.messages), page.missed) == (1, 1_000)


async def test_a_reader_removes_what_no_server_remembers(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def erases_nothing(batch: object) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(eraser.Eraser, "_erase", lambda self, batch: erases_nothing(batch))
    store = await valkey.open()
    start = (await history(store, room_id, None)).cursor
    await send_order(store, room_id, [LONG, *([0.5] * MANY)], 100)
    last = store.clock.now() + 600
    await eventually(lambda: store.clock.now() > last)
    assert length(valkey, room_id) == MANY + 1
    await check_history(store, room_id, start, MANY + 1, 1)
    await eventually(lambda: length(valkey, room_id) == 2)  # the last one stays
    await check_history(store, room_id, start, MANY + 1, 1)
    assert valkey.client.dbsize() < 20, "they were erased too"


SERVER = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.redis import lease, open_redis_store
from tests.core.store.test_mixed_expiry import LONG, send_order
lease.LEASE_SECONDS, lease.RENEW_SECONDS = 1.0, 0.1
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1]), ttl=60, server_id="killed") as store:
        await send_order(store, sys.argv[2], [LONG, *([1.5] * 1_000), *([5.0] * 1_000)], 100)
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_another_server_that_takes_over_removes_them_too(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    fill(valkey.client)
    heir = await valkey.open("two")
    start = (await history(heir, room_id, None)).cursor
    async with python(SERVER, valkey.url, room_id) as (_, line):
        assert line == "ready"
    await eventually(lambda: messages(valkey, room_id) == 1)
    await eventually(lambda: length(valkey, room_id) <= 1 + REMOVED)
    await check_history(heir, room_id, start, 2_001, 1)
