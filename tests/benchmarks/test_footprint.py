"""The program that measures what things take runs, and each thing takes something where it is kept."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.footprint import measure, table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc"),
]


def test_each_thing_takes_something_where_it_is_kept() -> None:
    sizes = measure(people=200, rooms=200, messages=1_000)
    empty, person, room, message, visit = sizes.values()
    assert empty.server > person.server
    assert person.server > 1_000
    assert person.valkey > 0
    assert person.database > 0
    assert room.valkey > 0
    assert room.database > 0
    assert 200 < message.valkey < 10_000
    assert message.database == 0, "no message is in the database"
    assert visit.database > 0
    head, line, *rows = table(sizes).splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(sizes)
    assert {row.count("|") for row in (head, line, *rows)} == {5}
