"""Addresses of clients in the log: kept, truncated to their networks, or left out."""

from __future__ import annotations

import pytest

from evanesce.logs.redaction import HIDDEN, without_addresses

ADDRESSES = [
    ("198.51.100.7", "198.51.100.0/24"),
    ("::ffff:198.51.100.7", "198.51.100.0/24"),
    ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::/48"),
    ("2001:DB8:85A3::1", "2001:db8:85a3::/48"),
    ("2001:db8:85a3::", "2001:db8:85a3::/48"),
]

PLACES = ["{}", "from {}", "{}: refused", "from {}.", "[{}]", "({})", "peer={}", '"{}"', "{}, and {}", "{}%eth0"]


@pytest.mark.parametrize(
    ("address", "network", "place"),
    [
        (address, network, place)
        for address, network in ADDRESSES
        for place in PLACES
        if not (address.endswith(":") and place.startswith("{}:"))
    ],
)
def test_an_address_is_found_wherever_it_stands(address: str, network: str, place: str) -> None:
    text = place.replace("{}", address)
    assert without_addresses(text, "truncated") == place.replace("{}", network)
    assert without_addresses(text, "none") == place.replace("{}", HIDDEN)
    assert without_addresses(text, "full") == text


@pytest.mark.parametrize("text", ["198.51.100.7:4242", "[2001:db8:85a3::1]:4242", "http://198.51.100.7/r/1"])
def test_an_address_with_a_port_or_in_a_link_is_found(text: str) -> None:
    assert "198.51.100.7" not in without_addresses(text, "truncated")
    assert "85a3::1" not in without_addresses(text, "truncated")
    assert HIDDEN in without_addresses(text, "none")


@pytest.mark.parametrize(
    "place",
    ["client:{}", "_{}", "{}_x", "{}.443", "x{}", "ip6:{}", "node-{}-a", "a.{}", "client:{}.443", "v6_{}_x", "{}x"],
)
@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("203.0.113.7", "113.7"),
        ("::ffff:203.0.113.7", "113.7"),
        ("2001:db8:1:2::7", "2::7"),
        ("2001:db8:1:2:3:4:5:7", "2:3:4:5:7"),
    ],
)
def test_nothing_beside_an_address_hides_it(address: str, own: str, place: str) -> None:
    text = f"refused {place.replace('{}', address)} now"
    for kept in ("truncated", "none"):
        redacted = without_addresses(text, kept)
        assert own not in redacted
        assert redacted.startswith("refused ")
        assert redacted.endswith(" now")
    assert HIDDEN in without_addresses(text, "none")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T05:42:00.123Z",
        "version 0.1.0",
        "at 05:42:00",
        "connection.py:129 serve < listener.py:7 run",
        "127.0.0.1:8000 and [::1]:8000, 0.0.0.0 and [::]",
        "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1",
        "plugins.quart.bind: cannot be used",
        "1.2.3.256",
        "a::b::c",
    ],
)
def test_other_text_and_the_addresses_of_this_machine_stay(text: str) -> None:
    assert without_addresses(text, "none") == text
    assert without_addresses(text, "truncated") == text
