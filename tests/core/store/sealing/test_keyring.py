"""Content is readable for the life of the message, in its place, for those who have the keys, and never longer."""

from __future__ import annotations

import msgspec
import pytest

from evanesce.model import Draft, Message, Timestamp
from evanesce.store.sealing.interface import UnknownKey
from evanesce.store.sealing.keyring import CHAINS, EXPORT_BYTES, JUMP, PERIOD, SLACK, Keyring
from tests.core.store.backends import draft

NOW, TTL = 1_790_000_000_123, 60_000
ROOM = "a room"
TIME = Timestamp("2026-11-22T05:42:00.123Z")


def ring(now: int = NOW) -> Keyring:
    return Keyring(TTL, now)


def message(keys: Keyring, content: str = "hello") -> tuple[Message, int]:
    """Return a message as the store has it, and the latest time at which it may expire."""
    sealed, latest = keys.seal(draft(ROOM, content), TTL)
    return as_stored(sealed), latest


def as_stored(sealed: Draft) -> Message:
    fields = {name: value for name, value in msgspec.structs.asdict(sealed).items() if name not in ("ttl", "retry")}
    return Message(**fields, created_at=TIME, expires_at=TIME)


def content(keys: Keyring, stored: Message) -> str | None:
    opened = keys.open(stored)
    return None if opened is None else opened.content


@pytest.mark.parametrize("text", ["hello", "x", "é" * 2_000, 'שלום 👩‍👩‍👧 "\\\u2028\n'])
def test_content_is_unreadable_in_the_store_and_the_same_afterwards(text: str) -> None:
    with ring() as keys:
        stored, _ = message(keys, text)
        assert text not in stored.content or len(text) == 1
        assert content(keys, stored) == text
        assert message(keys, text)[0].content != stored.content


@pytest.mark.parametrize("late", [0, 1, SLACK])
def test_a_key_lives_for_the_life_of_its_message_and_little_longer(late: int) -> None:
    for offset in range(0, PERIOD, 50):
        with ring(NOW + offset) as keys:
            stored, latest = message(keys)
            end = NOW + offset + late + TTL
            assert end <= latest
            keys.advance(end)
            assert content(keys, stored) == "hello"
            keys.advance(NOW + offset + TTL + SLACK + PERIOD)
            assert content(keys, stored) is None


@pytest.mark.parametrize("field", ["room_id", "message_id", "sender_id"])
def test_content_that_was_moved_elsewhere_is_not_read(field: str) -> None:
    with ring() as keys:
        stored, _ = message(keys)
        assert keys.open(msgspec.structs.replace(stored, **{field: "another"})) is None
        assert keys.open(msgspec.structs.replace(stored, sender_name="another")) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "hello",
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: text[:-6] + ("AA" if text[-6:-4] != "AA" else "BB") + text[-4:],
        lambda text: text.rpartition(".")[0] + ".",
        lambda text: text.rpartition(".")[0] + ".é",
        lambda text: text.replace(".", ".-", 1),
        lambda text: text.replace(".", ".9999999999999999999", 1),
        lambda text: text.replace(".", ".9", 1),
        lambda text: text.replace(".", ".٣", 1),
    ],
)
def test_content_that_was_changed_is_not_read(change) -> None:  # type: ignore[no-untyped-def]
    with ring() as keys:
        stored, _ = message(keys)
        assert keys.open(msgspec.structs.replace(stored, content=change(stored.content))) is None


def test_keys_go_from_one_server_to_another() -> None:
    with ring() as ada, ring(NOW + 2_000) as bob:
        stored, _ = message(ada)
        with pytest.raises(UnknownKey) as unknown:
            bob.open(stored)
        assert unknown.value.chain == ada.own
        ada.advance(NOW + 2_000)
        assert bob.take(ada.export(ada.own))
        assert not bob.take(ada.export(ada.own))
        assert content(bob, stored) == "hello"


def test_a_server_that_comes_later_cannot_read_what_was_over_before() -> None:
    with ring() as ada, ring(NOW + TTL + 1_000) as bob:
        stored, _ = message(ada)
        ada.advance(NOW + TTL + 1_000)
        bob.take(ada.export(ada.own))
        assert content(bob, stored) is None


def test_a_chain_that_no_server_uses_is_kept_for_the_life_of_its_messages() -> None:
    with ring() as ada, ring() as bob:
        bob.take(ada.export(ada.own))
        stored, latest = message(ada)
        bob.advance(latest)
        assert content(bob, stored) == "hello"
        bob.advance(latest + 20 * PERIOD)
        assert ada.own not in bob.known
        bob.take(ada.export(ada.own))
        bob.use(ada.own)
        bob.advance(latest + 20 * PERIOD + 2 * TTL)
        assert ada.own in bob.known


def test_a_new_own_chain_leaves_the_old_one_for_what_is_stored() -> None:
    with ring() as keys:
        stored, latest = message(keys)
        old = keys.own
        keys.renew(NOW)
        assert keys.own != old
        assert content(keys, stored) == "hello"
        keys.advance(latest + 20 * PERIOD)
        assert list(keys.known) == [keys.own]


@pytest.mark.parametrize("step", [-3_600_000, -60_000, -PERIOD - 1, JUMP + 1])
def test_after_a_step_of_the_clock_there_are_keys_again(step: int) -> None:
    with ring() as keys:
        old = keys.own
        assert keys.advance(NOW + step)
        assert keys.own != old
        stored, latest = message(keys)
        assert latest >= NOW + step + TTL
        assert content(keys, stored) == "hello"


def test_small_corrections_of_the_clock_change_no_key() -> None:
    with ring() as keys:
        for step in (0, 100, -100, -PERIOD, 3_600_000):
            assert not keys.advance(NOW + step)


@pytest.mark.parametrize(
    "exported", [b"", b"x", b"x" * (EXPORT_BYTES - 1), b"x" * (EXPORT_BYTES + 1), b"x" * EXPORT_BYTES]
)
def test_what_is_no_chain_is_refused(exported: bytes) -> None:
    with ring() as keys, pytest.raises(ValueError, match="chain of keys"):
        keys.take(exported)


def test_a_chain_that_nobody_uses_does_not_live_on_by_going_around() -> None:
    with ring() as ada, ring() as bob:
        bob.take(ada.export(ada.own))
        name, now = ada.own, NOW
        holders = [bob, ring(NOW)]
        for _ in range(10):
            now += TTL // 2
            for one, other in (holders, holders[::-1]):
                one.advance(now)
                if name in one.known:
                    other.advance(now)
                    other.take(one.export(name))
        assert all(name not in holder.known for holder in holders)
        holders[1].__exit__()


def test_a_ring_that_has_ended_gives_nothing() -> None:
    keys = ring()
    with keys:
        own = keys.own
    assert list(keys.known) == []
    with pytest.raises(KeyError):
        keys.export(own)


def test_after_a_step_back_the_chains_of_others_are_asked_for_again() -> None:
    with ring() as ada, ring() as bob:
        bob.take(ada.export(ada.own))
        bob.use(ada.own)
        bob.advance(NOW - 3_600_000)
        assert list(bob.known) == [bob.own]
        ada.advance(NOW - 3_600_000)
        stored, _ = message(ada)
        assert bob.take(ada.export(ada.own))
        assert content(bob, stored) == "hello"


def test_a_node_whose_clock_is_ahead_gets_a_later_key() -> None:
    with ring() as keys:
        stored, latest = keys.seal(draft(ROOM), TTL, NOW + 3_000)
        assert latest >= NOW + 3_000 + TTL
        assert content(keys, as_stored(stored)) == "hello"


def test_there_is_a_bound_on_chains() -> None:
    with ring() as keys, ring() as other:
        for _ in range(CHAINS - 1):
            keys.take(other.export(other.own))
            other.renew(NOW)
        assert keys.full
        with pytest.raises(ValueError, match="too many"):
            keys.take(other.export(other.own))
        keys.renew(NOW)  # one that nobody uses makes room
        stored, _ = message(keys)
        assert content(keys, stored) == "hello"
        keys.advance(NOW + 2 * TTL)
        assert not keys.full
