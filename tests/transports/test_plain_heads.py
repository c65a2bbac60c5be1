"""Headers of a plain request are read without h11: with the same result, and only where h11 would accept them."""

from __future__ import annotations

import math
from unittest import mock

import trio
from hypothesis import given
from hypothesis import strategies as st

from evanesce_transports.request import Head, Refused, read_head

NAMES = st.sampled_from(
    [
        "Host",
        "host",
        "X",
        "x-y",
        "X_Y",
        "Origin",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "X Y",
        "",
        "\x7f",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        ["x", "x:80", "a..b", "0", "5", "chunked", "Upgrade", "a b", "a  b", "a\tb", "é", " a", "a ", "", "\n"]
    ),
    st.text(st.characters(codec="latin-1"), max_size=6),
)
SEPARATORS = st.sampled_from([": ", ": ", ": ", ":", " : ", ":  ", ":\t", ""])
LINES = st.sampled_from(["GET / HTTP/1.1", "GET / HTTP/1.0", "POST /a?b HTTP/1.1", "GET http://y/ HTTP/1.1"])


async def parse(text: str) -> Head | tuple[int, str]:
    async def reserve(size: int) -> None:
        raise AssertionError(f"{size} bytes are no small head")

    sending, receiving = trio.testing.memory_stream_one_way_pair()
    await sending.send_all(text.encode("latin-1"))
    try:
        request = await read_head(receiving, bytearray(), reserve, deadline=math.inf)
    except Refused as refused:
        return refused.status, refused.error.message
    assert request is not None
    return request.head


@given(LINES, st.lists(st.tuples(NAMES, SEPARATORS, VALUES), max_size=6))
def test_h11_reads_the_same(line: str, headers: list[tuple[str, str, str]]) -> None:
    text = "\r\n".join([line, *(name + separator + value for name, separator, value in headers), "", ""])
    mine = trio.run(parse, text)
    with mock.patch("evanesce_transports.request._parse_plain", return_value=None):
        assert trio.run(parse, text) == mine


def test_h11_is_not_needed_for_a_plain_request() -> None:
    with mock.patch("evanesce_transports.request._parse", side_effect=AssertionError):
        head = trio.run(parse, "GET /ws HTTP/1.1\r\nHost: x\r\nX-Y: a b\r\nX-y: c\r\n\r\n")
    assert head == Head(b"GET", b"/ws", [(b"host", b"x"), (b"x-y", b"a b"), (b"x-y", b"c")], b"1.1")
