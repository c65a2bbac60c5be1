"""How a record becomes a line: as text for people, or as JSON for programs.

The processors of structlog run in the formatter, so that records of all libraries pass through them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, cast

import structlog
from structlog.contextvars import merge_contextvars
from structlog.processors import JSONRenderer
from structlog.stdlib import BoundLogger, LoggerFactory, ProcessorFormatter, filter_by_level

from evanesce.logs.context import bound
from evanesce.logs.records import fields_of, has_own_addresses
from evanesce.logs.redaction import Addresses, without_addresses
from evanesce.logs.text import escaped, folded
from evanesce.model import timestamp

Form = Literal["text", "json"]

MOST_CHARACTERS = 8_000
"""The longest text of a record, and of each of its fields, in characters. The rest is left out."""

EventDict = MutableMapping[str, Any]


def line_formatter(form: Form, addresses: Addresses, context: Mapping[str, int]) -> logging.Formatter:
    """Return the formatter of a process. `context` is the same in all its lines, such as the worker's number."""

    def describe(logger: object, method: str, event: EventDict) -> EventDict:
        return _described(event, addresses, context)

    render: Callable[[object, str, EventDict], str] = _text if form == "text" else _json
    return ProcessorFormatter(foreign_pre_chain=[merge_contextvars], processors=[describe, render])


def adopt_structlog() -> None:
    """Let the loggers of structlog, which plugins may use, pass their records to `logging`, and so to the same log."""
    structlog.configure(
        processors=[filter_by_level, merge_contextvars, ProcessorFormatter.wrap_for_formatter],
        logger_factory=LoggerFactory(),
        wrapper_class=BoundLogger,
    )


def _described(event: EventDict, addresses: Addresses, context: Mapping[str, int]) -> EventDict:
    """Return what a line says, in the order of the line; without the text of an exception."""
    record: logging.LogRecord = event.pop("_record")
    del event["_from_structlog"]
    text, told = event.pop("event"), event.pop("exc_info", None)
    event.pop("stack_info", None)
    kept: Addresses = "full" if has_own_addresses(record) else addresses
    line: EventDict = {
        "timestamp": timestamp(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": text,
        **context,
        **bound(),
        **event,
        **fields_of(record),
    }
    if (error := _exception(told)) is not None:
        line["exception"] = folded(error)
    return {name: _bounded(value, kept) for name, value in line.items()}


def _exception(told: object) -> BaseException | None:
    """Return the exception that a logger was told of: it, what `sys.exc_info` returns, or True for the present one."""
    if told is True:
        return sys.exc_info()[1]
    error = cast("tuple[object, ...]", told)[1] if isinstance(told, tuple) else told
    return error if isinstance(error, BaseException) else None


def _bounded(value: object, addresses: Addresses) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return without_addresses(str(value)[:MOST_CHARACTERS], addresses)


_TEXT_FIRST = ("timestamp", "level", "logger", "event")


def _text(logger: object, method: str, line: EventDict) -> str:
    """Return `2026-11-22T05:42:00.123Z WARNING evanesce.rooms.room text worker=1 [exception]`."""
    time, level, name, event = (line.pop(key) for key in _TEXT_FIRST)
    error = line.pop("exception", None)
    parts = [time, level.upper(), name, str(event), *(f"{key}={value}" for key, value in line.items())]
    return escaped(" ".join(parts if error is None else [*parts, f"[{error}]"]))


_render_json = JSONRenderer()


def _json(logger: object, method: str, line: EventDict) -> str:
    """Return an object on one line, in ASCII: so no control character is left but DEL."""
    rendered = _render_json(logger, method, line)
    return (rendered if isinstance(rendered, str) else rendered.decode()).replace("\x7f", "\\u007f")
