"""Whose request it is: through proxies that are trusted and not, and whether the client is on this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.addresses import parse_proxies
from evanesce.listening import Client
from evanesce_transports.client import MOST_PROXIES, find_client, parse_node
from evanesce_transports.request import Head, Request

TRUSTED = parse_proxies(("10.0.0.0/8", "127.0.0.2"), "x")


def request(*headers: tuple[str, str]) -> Request:
    fields = [(name.lower().encode(), value.strip().encode()) for name, value in headers]
    return Request(Head(b"GET", b"/", [(b"host", b"x"), *fields], b"1.1"), b"")


def find(peer: str, *headers: tuple[str, str]) -> Client:
    return find_client(peer, request(*headers), TRUSTED)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], Client("203.0.113.9", local=False)),
        ("127.0.0.1", [], Client("127.0.0.1", local=True)),
        ("127.0.0.2", [], Client("127.0.0.2", local=True)),
        ("::1", [], Client("::1", local=True)),
        ("::ffff:127.0.0.1", [], Client("127.0.0.1", local=True)),
        ("203.0.113.9", ["127.0.0.1"], Client("203.0.113.9", local=False)),
        ("127.0.0.1", ["203.0.113.9"], Client("127.0.0.1", local=False)),
        ("127.0.0.1", ["127.0.0.1"], Client("127.0.0.1", local=False)),
        ("127.0.0.1", [""], Client("127.0.0.1", local=False)),
        ("10.0.0.1", ["203.0.113.9"], Client("203.0.113.9", local=False)),
        ("10.0.0.1", ["127.0.0.1"], Client("127.0.0.1", local=True)),
        ("10.0.0.1", ["::1"], Client("::1", local=True)),
        ("127.0.0.2", ["127.0.0.1"], Client("127.0.0.1", local=True)),
        ("127.0.0.2", ["203.0.113.9"], Client("203.0.113.9", local=False)),
        ("10.0.0.1", ["203.0.113.9, 127.0.0.1"], Client("127.0.0.1", local=False)),
        ("10.0.0.1", ["127.0.0.1, 203.0.113.9", "10.0.0.2"], Client("203.0.113.9", local=False)),
        ("10.0.0.1", ["203.0.113.9, nonsense, 10.0.0.2"], Client("10.0.0.2", local=False)),
        ("10.0.0.1", [""], Client("10.0.0.1", local=False)),
        ("10.0.0.1", ["::ffff:203.0.113.9"], Client("203.0.113.9", local=False)),
        ("10.0.0.1", ["203.0.113.9" + ",10.0.0.2" * MOST_PROXIES], Client("203.0.113.9", local=False)),
        ("10.0.0.1", ["203.0.113.9,10.0.0.3" + ",10.0.0.2" * MOST_PROXIES], Client("10.0.0.2", local=False)),
        ("fe80::1%eth0", [], Client("fe80::1", local=False)),
        ("", [], Client("", local=False)),
    ],
)
def test_who_asks(peer: str, forwarded: list[str], expected: Client) -> None:
    assert find(peer, *(("x-forwarded-for", value) for value in forwarded)) == expected


# How proxies write an address, in both headers: with a port (Azure, HAProxy), in brackets, in quotes (RFC 7239).
NODES = {
    "203.0.113.9": "203.0.113.9",
    "203.0.113.9:4711": "203.0.113.9",
    "203.0.113.9:_port": "203.0.113.9",
    '"203.0.113.9"': "203.0.113.9",
    '"203.0.113.9:4711"': "203.0.113.9",
    "2001:db8::17": "2001:db8::17",
    "[2001:db8::17]": "2001:db8::17",
    "[2001:db8::17]:4711": "2001:db8::17",
    '"[2001:db8::17]"': "2001:db8::17",
    '"[2001:DB8::17]:4711"': "2001:db8::17",
    '"[2001:db8::17]:_port"': "2001:db8::17",
    "fe80::1%eth0": "fe80::1",
    "::ffff:203.0.113.9": "203.0.113.9",
    '"[::ffff:203.0.113.9]:4711"': "203.0.113.9",
    "unknown": None,
    "_hidden": None,
    '"_SEVKISEK"': None,
    "": None,
    '"': None,
    '""': None,
    "[": None,
    "[]": None,
    "[2001:db8::17": None,
    "[2001:db8::17]4711": None,
    "[2001:db8::17]:": None,
    "203.0.113.9:": None,
    "203.0.113.9:port": None,
    "203.0.113.9:471100": None,
    "203.0.113.9.9": None,
    "1" * 5_000: None,
    "[" * 5_000: None,
    "203.0.113.9:" + "1" * 5_000: None,
}


@pytest.mark.parametrize(("written", "expected"), NODES.items())
def test_an_address_as_proxies_write_it(written: str, expected: str | None) -> None:
    address = parse_node(written)
    assert (None if address is None else str(address)) == expected
    behind = expected or "10.0.0.1"
    for headers in (
        [("X-Forwarded-For", written)],
        [("X-Forwarded-For", f"192.0.2.1, {written}")],
        [("X-Forwarded-For", f'", {written}')],
        [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", written)],
        [("X-Forwarded-For", f"{written},10.0.0.1:80")],
        [("Forwarded", f"for={written}")],
        [("Forwarded", f"For = {written} ;proto=https;by=10.0.0.1")],
        [("Forwarded", "for=192.0.2.1"), ("Forwarded", f"proto=https;for={written}")],
        [("Forwarded", f"for={written}, for=10.0.0.1")],
    ):
        if written.startswith('"') and written.count('"') == 1 and headers[0][0] == "Forwarded":
            continue  # a proxy closes its quotes
        assert find("10.0.0.1", *headers) == Client(behind, local=False), headers
        assert find("198.51.100.7", *headers) == Client("198.51.100.7", local=False), headers


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ('for=192.0.2.1;host="a, for=192.0.2.2", for=203.0.113.9', "203.0.113.9"),
        ('for=203.0.113.9;host="a;for=192.0.2.2;b"', "203.0.113.9"),
        ('for=203.0.113.9;host="a, for=192.0.2.2, b"', "203.0.113.9"),
        ('for=", for=203.0.113.9', "203.0.113.9"),
        ('for="[, for="[2001:db8::17]:4711";proto=https', "2001:db8::17"),
        ('for="\\", for=203.0.113.9;proto=http', "203.0.113.9"),
        ('for=192.0.2.1, for="203.0.113.9\\"', "10.0.0.1"),
        ('for=192.0.2.1;host="a\\"b", for=203.0.113.9;host="a\\"b"', "203.0.113.9"),
        ("for=192.0.2.1;for=203.0.113.9", "10.0.0.1"),
        ("for=192.0.2.1, proto=https", "10.0.0.1"),
        ("for=192.0.2.1, ", "10.0.0.1"),
        ("for=192.0.2.1, for=unknown", "10.0.0.1"),
        ("for=192.0.2.1, for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("for=192.0.2.1, for=203.0.113.9, for=10.0.0.3, for=10.0.0.2", "203.0.113.9"),
        ("for=203.0.113.9" + ", for=10.0.0.2" * MOST_PROXIES, "203.0.113.9"),
        ("for=203.0.113.9, for=10.0.0.3" + ", for=10.0.0.2" * MOST_PROXIES, "10.0.0.2"),
        ("203.0.113.9", "10.0.0.1"),
        ("", "10.0.0.1"),
        (";=," * 5_000, "10.0.0.1"),
        ('"' * 5_001, "10.0.0.1"),
        ('for="' * 3_000 + ", for=203.0.113.9", "203.0.113.9"),
        ("\\" * 7_000 + '"' + "\\" * 7_000, "10.0.0.1"),
    ],
)
def test_the_header_forwarded(forwarded: str, expected: str) -> None:
    assert find("10.0.0.1", ("Forwarded", forwarded)) == Client(expected, local=False)


@given(
    sent=st.text(st.sampled_from('a1.:[]"\\,;= ') | st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60),
    node=st.sampled_from([(written, address) for written, address in NODES.items() if address is not None]),
    parameters=st.sampled_from(
        [
            "",
            ";proto=https",
            ';by="[::1]:80";host="a, for=192.0.2.1;b"',
            ';host="a\\"b"',
            ';host="\\\\"',
            ';host="\\", for=192.0.2.1;\\\\"',
        ]
    ),
)
def test_nothing_that_a_client_sends_hides_what_the_proxy_appended(
    sent: str, node: tuple[str, str], parameters: str
) -> None:
    written, address = node
    for headers in (
        [("Forwarded", f"{sent},for={written}{parameters}")],
        [("Forwarded", sent), ("Forwarded", f"for={written}{parameters}")],
        [("X-Forwarded-For", f"{sent}, {written}")],
    ):
        assert find("10.0.0.1", *headers) == Client(address, local=False)


def test_forwarded_is_read_only_where_there_is_no_x_forwarded_for() -> None:
    """A proxy that writes the one passes on the other as its client sent it."""
    headers = [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "203.0.113.9")]
    assert find("10.0.0.1", *headers) == find("10.0.0.1", *headers[::-1]) == Client("203.0.113.9", local=False)


@pytest.mark.parametrize(
    "sign",
    [
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Server", "proxy"),
        ("x-forwarded-by", "proxy"),
        ("X-Client-IP", "127.0.0.1"),
        ("True-Client-IP", "127.0.0.1"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("VIA", ""),
    ],
)
def test_behind_a_proxy_that_is_not_trusted_nobody_is_local(sign: tuple[str, str]) -> None:
    assert find("127.0.0.1").local
    assert find("127.0.0.1", sign) == Client("127.0.0.1", local=False)


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ([("X-Forwarded-For", "127.0.0.1"), ("Via", "1.1 proxy"), ("X-Forwarded-Proto", "https")], True),
        ([("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1")], True),
        ([("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "203.0.113.9")], False),
        ([("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "nonsense")], False),
        ([("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=203.0.113.9")], False),
        ([("X-Real-IP", "127.0.0.1")], False),
        ([("X-Forwarded-For", "127.0.0.1:4711"), ("X-Real-IP", "[::1]:4711")], True),
        ([("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")], False),
        ([("Forwarded", "for=127.0.0.1")], True),
        ([("Forwarded", "for=127.0.0.1"), ("X-Real-IP", "203.0.113.9")], False),
        ([("Forwarded", "for=203.0.113.9, for=127.0.0.1")], False),
        ([("Forwarded", "for=unknown")], False),
        ([("Forwarded", "proto=https")], False),
        ([("Via", "1.1 proxy")], False),
    ],
)
def test_a_trusted_proxy_has_to_name_a_local_client(headers: list[tuple[str, str]], local: bool) -> None:
    assert find("127.0.0.2", *headers).local is local
