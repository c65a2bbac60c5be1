"""Links of servers and rooms, and the secrets in their fragments."""

from __future__ import annotations

import pytest

from evanesce.client.links import BadLink, DeepLink, ServerLink, with_key
from evanesce.room_encryption import KEY_BYTES, RoomKey

ROOM = "00000000-0000-4000-8000-00000000000a"
KEY = RoomKey(bytes(range(KEY_BYTES)))


@pytest.mark.parametrize(
    ("link", "url", "host"),
    [
        (f"http://127.0.0.1:8000/r/{ROOM}", "ws://127.0.0.1:8000/ws", "127.0.0.1:8000"),
        (f"https://chat.example/r/{ROOM}/", "wss://chat.example/ws", "chat.example"),
        (f" https://chat.example/under/here/r/{ROOM.upper()}\n", "wss://chat.example/under/here/ws", "chat.example"),
        (f"https://chat.example/r/{ROOM.replace('-', '%2D')}/", "wss://chat.example/ws", "chat.example"),
        (f"https://chat.example/a%20b/r/%30{ROOM[1:]}", "wss://chat.example/a%20b/ws", "chat.example"),
        (f"http://[::1]:9/r/{ROOM}?x=1#y", "ws://[::1]:9/ws", "[::1]:9"),
        (f"http://[0:0::1]/r/{ROOM}", "ws://[::1]/ws", "[::1]"),
        (f"HTTPS://Bücher.example/r/{ROOM}", "wss://xn--bcher-kva.example/ws", "xn--bcher-kva.example"),
    ],
)
def test_deep_links(link: str, url: str, host: str) -> None:
    assert DeepLink.parse(link) == DeepLink(url, host, ROOM)


@pytest.mark.parametrize(
    "link",
    ["", "x", ROOM, f"/r/{ROOM}", f"ws://h/r/{ROOM}", f"http:///r/{ROOM}", f"http://h:x/r/{ROOM}", f"http://h:0/r/{ROOM}",
     f"http://h:70000/r/{ROOM}", "http://h/r/", f"http://h/r/{ROOM}x", f"http://h/s/{ROOM}", f"http://[::1/r/{ROOM}",
     f"http://a..b/r/{ROOM}", f"http://{'a' * 64}/r/{ROOM}", f"http://ü{'a' * 70}/r/{ROOM}", f"http://h:/r/{ROOM}",
     f"http://[fe80::1%eth0]/r/{ROOM}", f"http://1.2.3.256/r/{ROOM}", f"http://\udcff/r/{ROOM}"],
)  # fmt: skip
def test_what_is_no_deep_link(link: str) -> None:
    with pytest.raises(BadLink):
        DeepLink.parse(link)


@pytest.mark.parametrize(
    ("fragment", "key", "invite"),
    [
        ("", None, None),
        ("#", None, None),
        ("#top", None, None),
        ("#invite=", None, None),
        ("#invite=S3CR3T_-", None, "S3CR3T_-"),
        ("#invite=S3%2BT%3D", None, "S3+T="),
        ("#invite=a+b=c", None, "a+b=c"),
        (f"#k={KEY.text}", KEY.text, None),
        (f"#k={KEY.text}&invite=S3CR3T", KEY.text, "S3CR3T"),
        (f"#invite=S3CR3T&k={KEY.text}", KEY.text, "S3CR3T"),
        (f"#utm=1&k={KEY.text}&later=2", KEY.text, None),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "?x=1"])
def test_secrets_of_a_link(path: str, fragment: str, key: str | None, invite: str | None) -> None:
    link = DeepLink.parse(f"https://chat.example/r/{ROOM}{path}{fragment}")
    assert (link.key.text if link.key else None, link.invite) == (key, invite)
    for address in (link.url, link.hinted_url, link.host):
        assert "S3CR3T" not in address
        assert KEY.text not in address
        assert "#" not in address
    assert "S3CR3T" not in repr(link)


@pytest.mark.parametrize("key", ["", "x", KEY.text[:-1], KEY.text + "x", KEY.text[:-1] + "+", "%20" + KEY.text])
def test_half_a_key_is_told(key: str) -> None:
    with pytest.raises(BadLink, match="copy all of the link") as caught:
        DeepLink.parse(f"https://chat.example/r/{ROOM}#k={key}")
    assert not key or key not in str(caught.value)


def test_a_link_with_its_key() -> None:
    plain = f"https://chat.example/r/{ROOM}"
    for link in (plain, f"{plain}#invite=S3CR3T"):
        assert with_key(link, None) == link
        assert DeepLink.parse(with_key(link, KEY)).invite == DeepLink.parse(link).invite
    assert with_key(plain, KEY) == f"{plain}#k={KEY.text}"
    assert with_key(f"{plain}#invite=S3CR3T", KEY) == f"{plain}#k={KEY.text}&invite=S3CR3T"


@pytest.mark.parametrize(
    ("link", "url", "host"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws", "127.0.0.1:8000"),
        (" https://chat.example/ ", "wss://chat.example/ws", "chat.example"),
        ("https://chat.example/under/here/", "wss://chat.example/under/here/ws", "chat.example"),
    ],
)
def test_servers(link: str, url: str, host: str) -> None:
    assert ServerLink.parse(link) == ServerLink(url, host)


@pytest.mark.parametrize("link", ["", "chat.example", "ws://chat.example", "http://", "http://h:0", "http://[::1"])
def test_what_is_no_server(link: str) -> None:
    with pytest.raises(BadLink):
        ServerLink.parse(link)
