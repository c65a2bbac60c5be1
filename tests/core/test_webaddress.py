"""Addresses in the configuration: one normal form, and words of its own for each fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.errors import ConfigurationError
from evanesce.webaddress import parse_web_address, split_authority


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", ""),
        ("HTTPS://Chat.Example.ORG:443/", "https://chat.example.org", ""),
        ("https://chat.example.org.:0443/a/b//", "https://chat.example.org", "/a/b"),
        ("http://x:443", "http://x:443", ""),
        ("http://x:80/", "http://x", ""),
        ("libsql://db.turso.io", "libsql://db.turso.io", ""),
        ("https://bücher.example", "https://xn--bcher-kva.example", ""),
        ("https://BÜCHER。example", "https://xn--bcher-kva.example", ""),
        ("https://\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.org", "https://example.org", ""),
        ("http://[2001:DB8:0:0::1]:80", "http://[2001:db8::1]", ""),
        ("http://\uff11\uff12\uff17.0.0.1", "http://127.0.0.1", ""),
    ],
)
def test_each_address_has_one_form(text: str, origin: str, path: str) -> None:
    address = parse_web_address(text, "a.key")
    assert (address.origin, address.path, address.text) == (origin, path, origin + path)
    assert parse_web_address(address.text, "a.key") == address


WRONG = [
    ("http://h:0", "the port 0"),
    ("http://h:65536", "a port that is no number"),
    ("http://h:abc", "a port that is no number"),
    ("http://h:", "a port that is no number"),
    ("http://h:-1", "a port that is no number"),
    ("http://h:+1", "a port that is no number"),
    ("http://h:²", "a port that is no number"),
    ("http://h:٣", "a port that is no number"),
    ("http://h:" + "9" * 5000, "a port that is no number"),
    ("http://[::1", "a [ without a ]"),
    ("http://[::1]x", "something other than a port behind the ]"),
    ("http://[::1]:", "a port that is no number"),
    ("http://[::1]:x", "a port that is no number"),
    ("http://[]", "brackets around what is no IPv6 address"),
    ("http://[127.0.0.1]", "brackets around what is no IPv6 address"),
    ("http://[v1.x]", "brackets around what is no IPv6 address"),
    ("http://[fe80::1%eth0]", "a zone"),
    ("http://[fe80::1%25eth0]", "a zone"),
    ("http://::1", "more than one colon"),
    ("http://::1]:80", "more than one colon"),
    ("http://h]", "no name"),
    ("http://", "no host"),
    ("http://.", "no host"),
    ("http://:80", "no host"),
    ("http://a..b", "no name"),
    ("http://.a", "no name"),
    ("http://" + "a" * 64, "no name"),
    ("http://" + "a." * 127 + "a", "no name"),
    ("http://a b", "no name"),
    ("http://a\\b", "no name"),
    ("http://a\0", "no name"),
    ("http://user:S3CR3T@h", "a port that is no number"),
    ("http://1.2.3", "no IPv4 address"),
    ("http://1.2.3.256", "no IPv4 address"),
    ("http://0x7f.1", "no name|no IPv4 address"),
    ("http://\udcff", "no international name"),
    ("http://a\u200bü\u2028", "no international name"),
    ("http://ü" + "a" * 70, "no international name"),
    ("//h", "no address"),
    ("h:80", "no address"),
    ("", "no address"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_each_fault_has_its_words(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_web_address(text, "a.key")
    assert refused.value.path == "a.key"
    assert any(words in refused.value.problem for words in told.split("|")), refused.value.problem
    assert "S3CR3T" not in str(refused.value)


PIECES = ["http://", "[", "]", ":", "::1", "%", "/", ".", "a", "ü", "0", "65535", "@", " ", "\0", "\u200d", "xn--", "-"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join), st.text().map("http://{}".format)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        address = parse_web_address(text, "a.key")
    except ConfigurationError:
        return
    assert address.origin.isascii()
    assert parse_web_address(address.text, "a.key") == address


def test_what_is_listened_on_may_have_a_zone_and_the_port_0() -> None:
    assert split_authority("[FE80::1%eth0]:0", zones=True) == ("fe80::1%eth0", 0)
    with pytest.raises(ValueError, match="zone"):
        split_authority("[fe80::1%a\0]:0", zones=True)
