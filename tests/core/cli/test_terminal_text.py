from __future__ import annotations

import os

import pytest
import trio

from evanesce.cli.console import LONGEST_LINE, Console, line, text


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
