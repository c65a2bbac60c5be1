"""Under which hosts a server may be addressed: its own names, the address of the connection, and no other name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.sessions.hosts import AdmittedHosts
from evanesce.webaddress import parse_web_address


def hosts(public_url: str, *origins: str) -> AdmittedHosts:
    return AdmittedHosts(parse_web_address(public_url, "server.public_url"), origins)


PUBLIC = hosts(
    "https://Chat.Example.org/evanesce",
    "https://bücher.example",
    "HTTP://Other.example:8080",
    "https://\uff26\uff35\uff2c\uff2c.example:443",
    "http://[2001:DB8:0:0::9]:80",
)
LOCAL = hosts("http://127.0.0.1:8000")
OUTSIDE = "192.0.2.7"  # the address that the client connected to
MAPPED = "::ffff:192.0.2.7"


@pytest.mark.parametrize(
    ("host", "local_address", "admitted"),
    [
        # names of the configuration, in every way to write them
        ("chat.example.org", OUTSIDE, True),
        ("CHAT.EXAMPLE.ORG", OUTSIDE, True),
        ("chat.example.org.", OUTSIDE, True),
        ("chat.example.org:443", OUTSIDE, True),
        ("chat.example.org.:9", OUTSIDE, True),
        ("chat.example.org:", OUTSIDE, True),
        ("other.example", OUTSIDE, True),
        ("xn--bcher-kva.example", OUTSIDE, True),
        ("XN--BCHER-KVA.example:80", OUTSIDE, True),
        ("bücher.example", OUTSIDE, True),
        ("BÜCHER.example", OUTSIDE, True),
        # other names
        ("evil.example", OUTSIDE, False),
        ("chat.example.org.evil.example", OUTSIDE, False),
        ("evil.example:443", "127.0.0.1", False),
        ("chat.example.org..", OUTSIDE, False),
        ("example.org", OUTSIDE, False),
        ("a.chat.example.org", OUTSIDE, False),
        ("", OUTSIDE, False),
        (":443", OUTSIDE, False),
        ("127.1", "127.0.0.1", False),
        ("2130706433", "127.0.0.1", False),
        ("0x7f.0.0.1", "127.0.0.1", False),
        ("localhost.evil.example", "127.0.0.1", False),
        # addresses: the one that the client connected to
        (OUTSIDE, OUTSIDE, True),
        (f"{OUTSIDE}:8000", OUTSIDE, True),
        (OUTSIDE, MAPPED, True),
        (f"[{MAPPED}]:8000", OUTSIDE, True),
        ("192.0.2.8", OUTSIDE, False),
        ("[2001:db8::1]:8000", "2001:db8::1", True),
        ("[2001:DB8:0:0::1]", "2001:db8::1", True),
        ("[2001:db8:0::9]:80", OUTSIDE, True),
        ("[2001:db8::2]", "2001:db8::1", False),
        ("[fe80::1]", "fe80::1%eth0", True),
        # loopback, where the client came over it
        ("localhost", "127.0.0.1", True),
        ("LocalHost.:8000", "127.0.0.1", True),
        ("evanesce.localhost", "127.0.0.1", True),
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("127.0.0.53", "127.0.0.1", True),
        ("[::1]:8000", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "::ffff:127.0.0.1", True),
        ("localhost", OUTSIDE, False),
        ("127.0.0.1", OUTSIDE, False),
        ("[::1]", OUTSIDE, False),
        ("localhost", "", False),
    ],
)
def test_a_public_server(host: str, local_address: str, admitted: bool) -> None:
    assert PUBLIC.admits_host(host, local_address) is admitted


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "172.17.0.2:8000"])
def test_a_server_whose_public_url_is_loopback_may_be_behind_port_forwarding(host: str) -> None:
    assert LOCAL.admits_host(host, "172.17.0.2")
    assert not LOCAL.admits_host("evil.example:8000", "172.17.0.2")


@given(st.text(max_size=300), st.sampled_from(["127.0.0.1", "::1", OUTSIDE, "", "nonsense"]))
def test_any_text_is_judged(host: str, local_address: str) -> None:
    assert PUBLIC.admits_host(host, local_address) in (True, False)


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://chat.example.org", True),
        ("https://xn--bcher-kva.example", True),
        ("http://other.example:8080", True),
        ("https://full.example", True),
        ("http://[2001:db8::9]", True),
        ("https://bücher.example", False),
        ("http://other.example", False),
        ("null", False),
        ("", False),
        ("http://chat.example.org", False),
        ("https://chat.example.org:8443", False),
        ("https://chat.example.org.", False),
    ],
)
def test_origins_are_as_browsers_write_them(origin: str, admitted: bool) -> None:
    assert PUBLIC.admits_origin(origin) is admitted
