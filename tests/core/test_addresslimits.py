"""What one address may use: each /64 for itself, exempt networks not at all, and in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from evanesce.addresses import parse_networks
from evanesce.addresslimits import MOST_ADDRESSES, REFUSALS_PER_SECOND, AddressLimits
from evanesce.errors import RateLimited


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits(clock: Clock, exempt: Sequence[str] = ("127.0.0.0/8", "::1")) -> AddressLimits:
    return AddressLimits(connections=2, handshakes=5, exempt=parse_networks(exempt, "x"), clock=clock)


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (["192.0.2.1"] * 3, "192.0.2.2"),
        (["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"], "192.0.2.2"),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], "2001:db8:0:1::1"),
        (["fe80::1%eth0", "fe80::1%eth1", "fe80::2"], "fe80:0:0:1::1"),
        (["", "/run/socket", "nonsense"], "192.0.2.2"),
    ],
)
def test_one_address_has_so_many_connections(clock: Clock, addresses: list[str], other: str) -> None:
    counted = limits(clock)
    held = [counted.hold_connection(address) for address in addresses[:2]]
    with pytest.raises(RateLimited) as caught:
        counted.hold_connection(addresses[2])
    assert caught.value.retry_after
    counted.hold_connection(other).release()
    held[0].release()
    held[0].release()  # again: counts once
    with counted.hold_connection(addresses[2]), pytest.raises(RateLimited):
        counted.hold_connection(addresses[0])
    assert (counted.refused_connections, counted.refused_handshakes) == (2, 0)


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")],
)
def test_one_address_begins_two_seconds_worth_at_once_then_the_rate(
    clock: Clock, first: str, second: str, other: str
) -> None:
    counted = limits(clock)
    for turn in range(10):
        counted.count_handshake(first if turn % 2 else second)
    with pytest.raises(RateLimited) as caught:
        counted.count_handshake(first)
    assert caught.value.retry_after == pytest.approx(0.2, abs=0.002)
    counted.count_handshake(other)
    clock.now += 0.2
    counted.count_handshake(second)
    with pytest.raises(RateLimited):
        counted.count_handshake(first)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_exempt_networks_are_not_bound(clock: Clock, address: str) -> None:
    counted = limits(clock)
    for _ in range(100):
        counted.count_handshake(address)
        counted.hold_connection(address)
    assert (counted.refused_connections, counted.refused_handshakes) == (0, 0)
    assert counted.is_exempt(address)
    assert not limits(clock, ()).is_exempt(address)


def test_memory_is_bounded_whatever_the_number_of_addresses(clock: Clock) -> None:
    counted = limits(clock)
    for number in range(MOST_ADDRESSES + 1000):
        counted.count_handshake(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")
    assert len(counted._handshakes._full_at) == MOST_ADDRESSES
    for number in range(1000):
        counted.hold_connection(f"2001:db8:0:{number:x}::1").release()
    assert not counted._connections


def test_so_many_refused_clients_are_told_why(clock: Clock) -> None:
    counted = limits(clock)
    told = [counted.may_tell() for _ in range(100)]
    assert told == [True] * int(REFUSALS_PER_SECOND) + [False] * (100 - int(REFUSALS_PER_SECOND))
    clock.now += 1
    assert counted.may_tell()
