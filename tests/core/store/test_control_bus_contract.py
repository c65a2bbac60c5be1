"""What every control bus does, in memory, on one Redis and on a cluster."""

from __future__ import annotations

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import FOR_EVER, timestamp
from evanesce.store import Store
from evanesce.store.control_bus import (
    REVOCATION_SECONDS,
    DrainRequested,
    Notice,
    NoticesLost,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
    ban_mark,
)
from evanesce.store.redis import control_bus
from evanesce.store.redis.control_bus import NoticeQueue
from tests.core.store.backends import Backend, RedisBackend, eventually
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow
REVOKED = "evanesce:{servers}:revoked"


async def test_every_server_hears_notices(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    notices = [
        TokenRevoked("s"),
        UserErased("u"),
        UserRenamed("u", "Zoë"),
        UserBanned("u", FOR_EVER),
        UserDisconnected("u"),
        DrainRequested("a/1"),
    ]
    with trio.fail_after(PATIENCE):
        # A subscription takes a moment: who asks too early may lose some.
        with trio.move_on_after(0) as not_yet:
            await two.control.next_notice()
        while not_yet.cancelled_caught:
            await one.control.announce(TokenRevoked("probe"))
            with trio.move_on_after(0.1) as not_yet:
                while await two.control.next_notice() != TokenRevoked("probe"):
                    pass
        for notice in notices:
            await one.control.announce(notice)
        for store in (one, two):
            heard = [await store.control.next_notice()]
            while heard[-len(notices) :] != notices:
                heard.append(await store.control.next_notice())


async def announced(store: Store, notice: Notice) -> bool:
    """Announce something; False where the store cannot take it."""
    try:
        await store.control.announce(notice)
    except StoreUnavailable:
        return False
    return True


async def test_that_notices_may_be_lost_is_told_at_first_and_after_an_interruption(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    with trio.fail_after(PATIENCE):
        for store in (one, two):
            while await store.control.next_notice() != NoticesLost():
                pass
        backend.forget()
        for store in (one, two):
            while await store.control.next_notice() != NoticesLost():
                pass
        await eventually(lambda: announced(one, TokenRevoked("after")))
        while await two.control.next_notice() != TokenRevoked("after"):
            pass


async def test_the_mark_of_a_ban_ends_with_the_ban(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.control.announce(UserBanned("for ever", FOR_EVER))
    await one.control.announce(UserBanned("until then", timestamp(one.clock.now() + 100_000)))
    await one.control.announce(UserBanned("for a moment", timestamp(one.clock.now() + 1)))
    await one.control.announce(UserBanned("unbanned", FOR_EVER))
    await two.control.announce(UserBanned("unbanned", timestamp(two.clock.now())))
    marks = {user: ban_mark(user) for user in ("for ever", "until then", "for a moment", "unbanned")}

    async def ended() -> bool:
        found = await two.control.revoked([*marks, *marks.values()])
        return set(found) == {marks["for ever"], marks["until then"]}

    with trio.fail_after(PATIENCE):
        await eventually(ended)


async def test_what_has_ended_is_kept_for_a_while(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.control.announce(TokenRevoked("s"))
    await two.control.announce(UserErased("u"))
    await one.control.announce(UserRenamed("v", "Zoë"))
    asked = ["s", "u", "v", *(f"another {number}" for number in range(200))]
    for store in (one, two):
        assert set(await store.control.revoked(asked)) == {"s", "u"}
        assert set(await store.control.revoked([])) == set()
    backend.away()
    with pytest.raises(StoreUnavailable):
        await one.control.revoked(["s"])
    backend.back()
    await eventually(lambda: announced(one, TokenRevoked("s")))
    assert set(await one.control.revoked(asked)) == {"s", "u"}


async def test_revocations_are_dropped_when_they_are_over_or_too_many(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_bus, "MOST_REVOKED", 5)
    store = await valkey.open()
    for number in range(20):
        await store.control.announce(TokenRevoked(f"s{number:02}"))
    kept = [f"s{number:02}" for number in range(15, 20)]
    assert set(await store.control.revoked([f"s{number:02}" for number in range(20)])) == set(kept)
    assert 0 < valkey.client.ttl(REVOKED) <= REVOCATION_SECONDS
    valkey.client.zadd(REVOKED, dict.fromkeys(kept, 1.0))  # that was over in 1970
    for number in range(20, 23):
        await store.control.announce(TokenRevoked(f"s{number:02}"))
    assert set(await store.control.revoked([f"s{number:02}" for number in range(30)])) == {"s20", "s21", "s22"}


async def test_notices_that_nobody_asks_for_are_bounded_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    waiting = NoticeQueue()
    for number in range(control_bus.WAITING + 3):
        waiting.push([control_bus.encode(TokenRevoked(f"{number}"))])
    waiting.push([b"nonsense"])
    assert caplog.text.count("notices are dropped") == 1
    with trio.fail_after(PATIENCE):
        assert await waiting.next() == NoticesLost()
        for number in range(control_bus.WAITING):
            assert await waiting.next() == TokenRevoked(f"{number}")
    with trio.move_on_after(0) as nothing:
        await waiting.next()
    assert nothing.cancelled_caught
