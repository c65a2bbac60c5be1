"""The writer: it never waits for what reads the log, and says how much was dropped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evanesce.logs.writer import MOST_WAITING, Writer

LINE = b"x" * 999 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def read(descriptor: int) -> bytes:
    data = os.read(descriptor, 65_536)
    assert data, "the writer has closed the pipe"
    return data


def writer_of(descriptor: int) -> Writer:
    def between(dropped: int) -> tuple[list[bytes], float | None]:
        return ([b"dropped: %d\n" % dropped] if dropped else []), None

    return Writer(os.fdopen(descriptor, "w"), between)


def test_a_pipe_that_nobody_reads_drops_lines_and_says_so_when_it_is_read(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = writer_of(writing)
    put = 3 * MOST_WAITING // len(LINE)
    for _ in range(put):
        writer.put(LINE)
    assert 0 < writer.dropped < put
    assert not writer.flush(0.0)
    dropped = writer.dropped
    text = b""
    while b"dropped: " not in text or not text.endswith(b"\n"):
        text += read(reading)
    assert text.count(LINE) == put - dropped
    assert text.endswith(b"dropped: %d\n" % dropped)
    assert writer.flush(10.0)


def test_a_reader_that_has_ended_costs_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    writer = writer_of(writing)
    os.close(reading)
    writer.put(LINE)
    assert writer.flush(10.0)
    writer.put(LINE)
    assert writer.flush(10.0)
    assert writer.dropped == 2


def test_lines_are_written_in_their_order_through_a_descriptor_that_does_not_block(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = writer_of(writing)
    lines = [b"%d\n" % number for number in range(50_000)]
    for line in lines:
        writer.put(line)
    text = b""
    while not text.endswith(lines[-1]):
        text += read(reading)
    assert text == b"".join(lines)
    assert writer.dropped == 0


def test_a_process_without_standard_error_logs_nowhere() -> None:
    writer = Writer(None, lambda dropped: ([], None))
    writer.put(LINE)
    assert writer.flush(10.0)
    assert writer.dropped == 0


def test_the_lines_of_several_processes_that_share_a_pipe_stay_whole(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writers = [writer_of(writing), writer_of(os.dup(writing))]
    lines = [letter * length + b"\n" for letter, length in ((b"a", 700), (b"b", 900))]
    count = MOST_WAITING // 1000
    for _ in range(count):
        for writer, line in zip(writers, lines, strict=True):
            writer.put(line)
    text = b""
    while len(text) < count * sum(map(len, lines)):
        text += read(reading)
    assert set(text.splitlines(keepends=True)) == set(lines)
