"""What values that are read once do, in memory, on one Redis and on a cluster."""

from __future__ import annotations

import pytest
import trio

from evanesce.store import Store
from tests.core.store.backends import Backend

pytestmark = pytest.mark.slow


async def test_what_is_put_is_taken_once(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.one_time_values.put("key", b"\0value", 60)
    taken: list[bytes | None] = []

    async def take(store: Store) -> None:
        taken.append(await store.one_time_values.take("key"))

    async with trio.open_nursery() as nursery:
        for store in (one, two, one, two):
            nursery.start_soon(take, store)
    assert (len(taken), taken.count(b"\0value"), taken.count(None)) == (4, 1, 3)
    await one.one_time_values.put("brief", b"x", 0.05)
    await trio.sleep(0.1)  # the key's time has to pass: there is nothing to wait for but it
    assert await two.one_time_values.take("brief") is None
