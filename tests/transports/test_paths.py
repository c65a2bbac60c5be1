"""The path of the public address, before the server's own."""

from __future__ import annotations

import h11
import pytest

from evanesce_transports.request import PublicPath


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
    request = h11.Request(method="GET", target=target, headers=[("Host", "h"), ("X", "y")])
    mine = public.strip_request(request)
    assert (mine.target, list(mine.headers)) == (own.encode(), list(request.headers))
