"""What is read ahead of a client: in order, and in memory that does not depend on which characters it sends."""

from __future__ import annotations

import tracemalloc

from evanesce.sessions.read_ahead import ReadAhead

SIZE = 65_536


def test_frames_are_taken_as_they_were_put() -> None:
    ahead = ReadAhead(SIZE)
    frames: list[str | bytes] = ["plain", b"binary", "\U0001f600", "\ud800", ""]
    for frame in frames:
        ahead.put(frame)
    assert [ahead.take() for _ in frames] == frames
    assert not ahead


def test_one_rare_character_takes_no_more_memory() -> None:
    ahead = ReadAhead(SIZE)
    tracemalloc.start()
    try:
        while ahead.has_room:
            ahead.put("x" * (SIZE - 5) + "\U0001f600")  # of four bytes in UTF-8, and then each has four in Python
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * SIZE + 4_096
