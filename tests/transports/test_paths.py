"""The path of the public address, before the server's own."""

from __future__ import annotations

import pytest

from evanesce_transports.request import Head, PublicPath


@pytest.mark.parametrize(
    ("path", "target", "own"),
    [
        ("", "/", "/"),
        ("", "/chat/ws", "/chat/ws"),
        ("/chat", "/chat", "/"),
        ("/chat", "/chat/", "/"),
        ("/chat", "/chat?x=/chat", "/?x=/chat"),
        ("/chat", "/chat/r/x?y", "/r/x?y"),
        ("/chat", "/r/x?y=/chat/", "/r/x?y=/chat/"),
        ("/chat", "/chats/ws", "/chats/ws"),
        ("/chat", "/CHAT/ws", "/CHAT/ws"),
        ("/chat", "/chat/chat/ws", "/chat/ws"),
        ("/chat", "/chat//ws", "//ws"),
        ("/chat", "/ch%61t/ws", "/ch%61t/ws"),
        ("/a/b", "/a/b/ws", "/ws"),
        ("/a/b", "/a/ws", "/a/ws"),
    ],
)
def test_a_target_without_it(path: str, target: str, own: str) -> None:
    public = PublicPath(path)
    assert public.strip(target.encode()) == own.encode()
    head = Head(b"GET", target.encode(), [(b"host", b"h"), (b"x", b"y")], b"1.1")
    assert public.strip_head(head) == head._replace(target=own.encode())
