from __future__ import annotations

import os

import pytest
import trio

from evanesce.cli.client import BadLink, DeepLink
from evanesce.cli.console import LONGEST_LINE, Console, line, text

ROOM = "00000000-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    "control", [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
)
def test_no_control_character_comes_through(control: str) -> None:
    for shown in (text(f"a{control}b"), line(f"a{control}b")):
        assert control not in shown
        assert len(shown) == 3, "something stands in its place"


@pytest.mark.parametrize(
    "content",
    ["שָׁלוֹם", "\u202eabc\u202c", "👩‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿", "e\u0301", "a\tb", "𝄞", "\u2028", "\u00a0", "\ufeff"],
)
def test_all_else_stays_as_it_is(content: str) -> None:
    assert text(content) == content


def test_further_lines_are_indented() -> None:
    assert text("one\nBen: two\r\nthree\rfour") == "one\n    Ben: two\n    three␍four"
    assert line("one\ntwo") == "one␊two"


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


async def test_lines_of_a_pipe() -> None:
    reader, writer = os.pipe()
    console = Console(stdin=reader)
    assert not console.echoes
    with os.fdopen(writer, "wb", buffering=0) as end:
        end.write("grüezi\r\n\n".encode() + b"half \xf0\x9f")
        lines = console.lines()
        assert [await anext(lines), await anext(lines)] == ["grüezi", ""]
        end.write(b"\x91\x8b\xff a line\nthe rest")
        assert await anext(lines) == "half 👋\ufffd a line"
    assert [one async for one in lines] == ["the rest"]
    os.close(reader)


async def test_a_line_without_end_comes_in_pieces() -> None:
    reader, writer = os.pipe()
    pieces: list[str] = []

    async def feed() -> None:
        def write() -> None:
            with os.fdopen(writer, "wb") as end:
                end.write(b"x" * (3 * LONGEST_LINE))

        await trio.to_thread.run_sync(write)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        async for piece in Console(stdin=reader).lines():
            pieces.append(piece)
    os.close(reader)
    assert "".join(pieces) == "x" * (3 * LONGEST_LINE)
    assert max(map(len, pieces)) <= 2 * LONGEST_LINE


async def test_waiting_for_a_line_can_be_given_up() -> None:
    reader, writer = os.pipe()
    with trio.move_on_after(0.05) as patience:
        await anext(Console(stdin=reader).lines())
    assert patience.cancelled_caught
    os.close(writer)


async def test_what_is_printed_is_whole() -> None:
    reader, writer = os.pipe()
    console = Console(stdout=writer)
    async with trio.open_nursery() as nursery:
        for letter in "abc":
            nursery.start_soon(console.print, letter * 500)
    assert sorted(os.read(reader, 65_536).decode().split()) == ["a" * 500, "b" * 500, "c" * 500]
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        await console.print("nobody reads this")
    os.close(writer)
