"""The log: one line for each event, no control characters, no content of an exception."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from evanesce import logs

CONTROL = [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\ud800"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield what is written to standard error; the process's logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.setup()
    yield stream
    logging.captureWarnings(False)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def test_a_line_says_when_how_bad_and_where_from(written: io.StringIO) -> None:
    logging.getLogger("evanesce.room").warning("room %s is full", 5)
    line = written.getvalue()
    assert line.endswith(" WARNING evanesce.room room 5 is full\n")
    assert len(line.partition(" ")[0]) == len("2026-11-22T05:42:00.123Z")


def test_debug_is_left_out(written: io.StringIO) -> None:
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


def test_an_exception_is_folded_into_the_line_without_its_text(written: io.StringIO) -> None:
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


def test_warnings_are_events_too(written: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("two\nlines", UserWarning, stacklevel=1)
    [line] = written.getvalue().splitlines()
    assert "two\\nlines" in line


def test_a_record_that_cannot_be_written_shows_nothing(written: io.StringIO) -> None:
    logging.getLogger("evanesce").warning("%d", "not a number")
    assert "not a number" not in written.getvalue()
