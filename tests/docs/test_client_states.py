"""The pages for authors of clients: the picture, the tables and the format are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from docs import client_states
from evanesce.conformance import transcript
from evanesce.errors import CloseCode

DOCS = Path(__file__).parents[2] / "docs"
STATES, TRANSITIONS = client_states.read(client_states.SOURCE.read_text("utf-8"))
PAGE = (DOCS / "reference" / "client-states.md").read_text("utf-8")
GUIDE = (DOCS / "how-to" / "test-a-client.md").read_text("utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the rows of all tables below a heading, up to the next one of any level."""
    part = page.split(f"# {heading}\n", 1)[1]
    part = re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def transitions(heading: str, states: set[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    table = rows(PAGE, heading)
    for origin, target, _ in table[table.index(["from", "to", "when"]) + 1 :]:
        for head in names(target)[:1]:
            tails = states - {head} if origin == "any" else names(origin)
            found |= {(tail, head) for tail in tails if tail != head}
    return found


def test_the_picture_is_drawn_from_its_source() -> None:
    picture = client_states.PICTURE.read_text("utf-8")
    assert picture == client_states.draw(STATES, TRANSITIONS), "run `python -m docs.client_states`"


def test_every_line_of_the_source_is_read() -> None:
    text = client_states.SOURCE.read_text("utf-8")
    assert len(STATES) == text.count("[kind=")
    assert len(TRANSITIONS) == text.count(" -> ")


def test_the_picture_and_the_tables_show_the_same_transitions() -> None:
    connection, room = {"connecting", "online", "offline", "stopped"}, {"joining", "joined", "left"}
    assert set(STATES) == connection | room
    written = transitions("The connection", connection) | transitions("A room", room)
    assert written == {(one.tail, one.head) for one in TRANSITIONS}


def test_every_close_code_has_a_row() -> None:
    does = {
        int(code): text
        for cells in rows(PAGE, "After the end of a connection")
        for code in numbers(cells[0])
        for text in cells[1:]
    }
    assert set(does) == {code.value for code in CloseCode} | {1006}
    for code in CloseCode:
        if code not in (CloseCode.NORMAL, CloseCode.SIGN_IN_AGAIN):
            assert does[code].startswith("connects again") == code.reconnect


def numbers(cell: str) -> list[str]:
    return re.findall(r"\b\d{4}\b", cell)


def test_every_step_of_a_transcript_is_described() -> None:
    described = {re.match(r'`\{"(\w+)"', cells[0])[1] for cells in rows(GUIDE, "Read a transcript")[1:]}  # type: ignore[index]
    assert described == set(transcript.KINDS)


def test_the_transcripts_use_only_lines_that_the_guide_describes() -> None:
    described = {
        re.findall(r'"do": "(\w+)"', cells[0]).pop() for cells in rows(GUIDE, "Write a driver") if '"do"' in cells[0]
    }
    used = {
        step.do["do"] for one in transcript.shipped().values() for step in one.steps if isinstance(step, transcript.Do)
    }
    assert used <= described
    events = set(re.findall(r"`(\w+)`", PAGE)) | {"sent", "failed"}
    told = {
        step.event["event"]
        for one in transcript.shipped().values()
        for outer in one.steps
        for step in (transcript.nested(outer) if isinstance(outer, transcript.AnyOrder) else [outer])
        if isinstance(step, transcript.Told)
    }
    assert told <= events
