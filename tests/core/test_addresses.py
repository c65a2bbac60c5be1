"""Addresses: what one limit counts as one address, which networks are exempt, and what is no address at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.addresses import UNKNOWN_BLOCK, address_block, is_within, network_check, parse_networks
from evanesce.errors import ConfigurationError


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%25eth1", "fe80::/64"),
        ("::1", "::/64"),
        ("", UNKNOWN_BLOCK),
        ("/run/evanesce.sock", UNKNOWN_BLOCK),
        ("192.0.2.256", UNKNOWN_BLOCK),
        ("192.0.2.01", UNKNOWN_BLOCK),
        ("192.0.2.1:8000", UNKNOWN_BLOCK),
        ("[::1]", UNKNOWN_BLOCK),
        ("localhost", UNKNOWN_BLOCK),
        ("١٩٢.0.2.1", UNKNOWN_BLOCK),
        ("::%" + "x" * 100_000, UNKNOWN_BLOCK),
        ("1" * 100_000, UNKNOWN_BLOCK),
    ],
)
def test_one_limit_counts_these_as_one_address(address: str, block: str) -> None:
    assert address_block(address) == block


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_whole_64_network_has_one_block(address: object, host: int) -> None:
    inside = int(address) >> 64 << 64 | host  # type: ignore[call-overload]
    if not (inside >> 32 == 0xFFFF or int(address) >> 32 == 0xFFFF):  # type: ignore[call-overload]
        other = str(type(address)(inside))  # type: ignore[call-arg]
        assert address_block(str(address)) == address_block(other)


@given(st.text())
def test_any_text_has_a_block(text: str) -> None:
    assert address_block(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::ffff:127.0.0.1", True),
        ("::1", True),
        ("::1%lo", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_the_default_exemptions(address: str, expected: bool) -> None:
    networks = parse_networks(("127.0.0.0/8", "::1"), "x")
    assert is_within(address, networks) is expected
    check = network_check(networks)
    assert [check(address), check(address)] == [expected, expected]


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("10.1.2.3/8", "10.9.9.9", True),
        ("::ffff:10.0.0.0/104", "10.9.9.9", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("2001:db8::/32", "2001:db8:9::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "192.0.2.1", False),
    ],
)
def test_networks_hold_addresses(network: str, address: str, expected: bool) -> None:
    assert is_within(address, parse_networks((network,), "x")) is expected


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0-10.0.0.9", "*", "10.0.0.1:80"])
def test_what_is_no_network_is_refused_with_its_key(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_networks((text,), "limits.exempt_addresses")
    assert caught.value.path == "limits.exempt_addresses"
