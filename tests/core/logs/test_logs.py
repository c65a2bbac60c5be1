"""The log: one line for each event, no control characters, no content of an exception."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog
import trio

from evanesce import logs
from evanesce.logs import handler, repeats

CHANGED = ("evanesce.store", "example_plugin", "hypercorn")
"""Further loggers whose levels the tests change."""

CONTROL = [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\ud800"]


class Written(io.StringIO):
    """What was written to standard error, all lines that were logged before included."""

    def getvalue(self) -> str:
        logs.flush()
        return super().getvalue()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Yield what is written to standard error; the process's logging is as before afterwards."""
    handlers, raising = logging.getLogger().handlers[:], logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in ("root", *handler.PARTS, *CHANGED)}
    stream = Written()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.setup()
    yield stream
    logging.captureWarnings(False)
    logging.getLogger().handlers[:], logging.raiseExceptions = handlers, raising
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def test_a_line_says_when_how_bad_and_where_from(written: Written) -> None:
    logging.getLogger("evanesce.room").warning("room %s is full", 5)
    line = written.getvalue()
    assert line.endswith(" WARNING evanesce.room room 5 is full\n")
    assert len(line.partition(" ")[0]) == len("2026-11-22T05:42:00.123Z")


def test_debug_is_left_out(written: Written) -> None:
    logging.getLogger("evanesce").debug("nothing")
    assert written.getvalue() == ""


@pytest.mark.parametrize("control", CONTROL, ids=lambda one: f"U+{ord(one):04X}")
def test_control_characters_are_written_visibly(written: io.StringIO, control: str) -> None:
    logging.getLogger(f"a{control}b").warning("c%sd", f"{control}e")
    text = written.getvalue()
    assert control not in text.removesuffix("\n")
    assert text.splitlines() == [text.removesuffix("\n")]
    assert text.encode().decode() == text


def test_other_text_stays_as_it_is() -> None:
    assert logs.escaped("plain, ünï, שלום, 👩‍👩‍👧 \\n") == "plain, ünï, שלום, 👩‍👩‍👧 \\n"
    assert logs.escaped("a\r\n\x1b[2Jb\u2028") == "a\\r\\n\\x1b[2Jb\\u2028"


def _raise(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def caught(error: Exception, cause: Exception | None = None) -> Exception:
    with pytest.raises(type(error)) as info:
        _raise(error, cause)
    return info.value


def test_an_exception_is_folded_into_the_line_without_its_text(written: Written) -> None:
    secret = "what somebody wrote\nin two lines"
    try:
        local = secret
        _raise(ValueError(local), cause=caught(KeyError(secret)))
    except ValueError:
        logging.getLogger("evanesce").exception("contained")
    [line] = written.getvalue().splitlines()
    assert "contained [ValueError at test_logs.py:" in line
    assert "_raise < test_logs.py:" in line
    assert ", after KeyError at test_logs.py:" in line
    assert "somebody" not in line


def test_groups_and_errors_of_the_system_say_what_is_in_them() -> None:
    group = ExceptionGroup("text", [caught(OSError(98, "Address already in use", "/secret")), ValueError("text")])
    folded = logs.folded(group)
    assert folded.startswith("ExceptionGroup of {OSError (Address already in use) at test_logs.py:")
    assert folded.endswith("; ValueError}")
    assert "secret" not in folded
    assert "text" not in folded


@pytest.mark.parametrize("number", [98, 5, -2, "98", None])
def test_an_error_of_the_system_with_other_words_keeps_them(number: object) -> None:
    assert "somebody" not in logs.folded(caught(OSError(number, "somebody's message")))


def test_a_hidden_context_stays_hidden() -> None:
    def hide() -> None:
        try:
            raise KeyError
        except KeyError:
            raise LookupError from None

    with pytest.raises(LookupError) as info:
        hide()
    assert "KeyError" not in logs.folded(info.value)


def test_deep_recursion_is_told_in_a_bounded_line() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise LookupError
        deep(n - 1)

    with pytest.raises(LookupError) as info:
        deep(500)
    assert len(logs.folded(info.value)) < 1000


def test_warnings_are_events_too(written: Written) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("two\nlines", UserWarning, stacklevel=1)
    [line] = written.getvalue().splitlines()
    assert "two\\nlines" in line


def test_a_record_that_cannot_be_written_shows_nothing(written: Written) -> None:
    logging.getLogger("evanesce").warning("%d", "not a number")
    assert "not a number" not in written.getvalue()


def test_lines_for_programs_are_objects(written: Written) -> None:
    logs.configure(form="json", worker=3)
    try:
        _raise(ValueError("somebody's message"))
    except ValueError:
        logging.getLogger("evanesce.room").exception("it\n%s\x7f", "failed", extra=logs.fields(rooms=2, name="ü"))
    [text] = written.getvalue().splitlines()
    line = json.loads(text)
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("exception").startswith("ValueError at test_logs.py:")
    fields = {"level": "error", "logger": "evanesce.room", "event": "it\nfailed\x7f", "worker": 3}
    assert line == fields | {"rooms": 2, "name": "ü"}
    assert text.isprintable()


def test_fields_of_a_line_for_people_follow_its_text(written: Written) -> None:
    logs.configure(worker=3)
    logging.getLogger("evanesce.room").warning("full", extra=logs.fields(rooms=2))
    assert written.getvalue().endswith(" WARNING evanesce.room full worker=3 rooms=2\n")


def test_only_warnings_of_libraries_are_logged(written: Written) -> None:
    logs.configure(level="debug", plugins=["example_plugin"])
    for name in ("hypercorn.error", "evanesce.store", "example_plugin.module"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    texts = [line.split(" ", 3)[3] for line in written.getvalue().splitlines()]
    assert texts == [
        "warning of hypercorn.error",
        "debug of evanesce.store",
        "warning of evanesce.store",
        "debug of example_plugin.module",
        "warning of example_plugin.module",
    ]


@pytest.mark.parametrize(
    "name",
    ["aiohttp.access", "httpcore", "httpcore2.http11", "httpx", "httpx2", "hypercorn.access", "redis", "urllib3"],
)
def test_a_library_that_logs_requests_is_silent_below_warning(written: Written, name: str) -> None:
    """The information of HTTP clients has whole addresses, which may contain tokens."""
    logs.configure(level="debug")
    logging.getLogger(name).info("HTTP Request: GET https://example/?token=S3CR3T")
    logging.getLogger(name).debug("send_request_headers S3CR3T")
    assert written.getvalue() == ""
    logging.getLogger(name).warning("a warning")
    assert f" WARNING {name} a warning" in written.getvalue()


def test_a_part_may_have_a_level_of_its_own(written: Written) -> None:
    logs.configure(level="warning", levels={"evanesce.store": "debug", "hypercorn": "error"})
    for name in ("evanesce.room", "evanesce.store.redis", "hypercorn.error"):
        logging.getLogger(name).warning("warning of %s", name)
        logging.getLogger(name).debug("debug of %s", name)
    texts = [line.split(" ", 3)[3] for line in written.getvalue().splitlines()]
    assert texts == ["warning of evanesce.room", "warning of evanesce.store.redis", "debug of evanesce.store.redis"]


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("name", ["hypercorn", "httpcore2.http11", "root", "evanesce_other", "evanesce.plugins.texts"])
def test_a_level_that_would_show_secrets_is_refused(name: str, level: str) -> None:
    assert logs.level_problem(name, level, ["example_plugin"])


@pytest.mark.parametrize(
    ("name", "level"),
    [("hypercorn", "warning"), ("evanesce", "debug"), ("evanesce_plugins.turso", "debug"), ("example_plugin", "info")],
)
def test_other_levels_are_lawful(name: str, level: str) -> None:
    assert logs.level_problem(name, level, ["example_plugin"]) is None


def test_a_logger_of_structlog_writes_to_the_same_log(written: Written) -> None:
    logs.configure()
    log = structlog.get_logger("evanesce_plugins.mine")
    log.debug("left out")
    try:
        _raise(ValueError("somebody's message"))
    except ValueError:
        log.exception("failed\n", room=5)
    [line] = written.getvalue().splitlines()
    assert " ERROR evanesce_plugins.mine failed\\n room=5 [ValueError at test_logs.py:" in line
    assert "somebody" not in line


def test_a_flood_costs_a_bounded_number_of_lines(written: Written) -> None:
    log = logging.getLogger("evanesce.room")
    for number in range(10_000):
        log.warning("client %d sends nonsense", number)
        log.warning("another kind")
    lines = written.getvalue().splitlines()
    assert len(lines) == 2 * (repeats.MOST_LINES + 1)
    left_out = 10_000 - repeats.MOST_LINES
    assert f"client {repeats.MOST_LINES} sends nonsense (repeated {left_out} times in " in lines[-2]


def test_lines_that_operators_cause_are_all_written(written: Written) -> None:
    for _ in range(100):
        logging.getLogger("evanesce.admin").info("a room was closed", extra=logs.EVERY_LINE)
    assert len(written.getvalue().splitlines()) == 100


def test_addresses_of_clients_are_truncated_and_those_of_servers_are_not(written: Written) -> None:
    logs.configure(addresses="truncated")
    log = logging.getLogger("evanesce.listening")
    log.warning("refused: %s", "198.51.100.7", extra=logs.fields(peer="2001:db8:1:2::7"))
    log.warning("listening on %s", "198.51.100.7", extra=logs.OWN_ADDRESSES)
    first, second = written.getvalue().splitlines()
    assert first.endswith("refused: 198.51.100.0/24 peer=2001:db8:1::/48")
    assert second.endswith("listening on 198.51.100.7")


def test_a_connection_has_a_number_in_its_own_lines_only(written: Written) -> None:
    log = logging.getLogger("evanesce.sessions")

    async def of_a_connection() -> None:
        logs.bind_connection()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(of_its_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(of_a_room)

    async def of_its_task() -> None:
        log.warning("a task")

    async def of_a_room() -> None:
        logs.unbind_connection()
        log.warning("a room")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(of_a_connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(of_a_connection)
        log.warning("the server")

    trio.run(main)
    texts = [line.split(" ", 3)[3] for line in written.getvalue().splitlines()]
    tasks = [text for text in texts if text.startswith("a task")]
    assert len({text.partition(" connection=")[2] for text in tasks} - {""}) == 2
    assert [text for text in texts if text not in tasks] == ["a room", "a room", "the server"]
