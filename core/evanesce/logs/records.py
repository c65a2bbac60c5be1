"""What a call of `logging` may say about its record, as `extra`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

KIND_CHARACTERS = 200
"""By how much of its text a kind is told from others, in characters: a plugin may put a long text together."""

_FIELDS = "evanesce_fields"
_OWN_ADDRESSES = "evanesce_own_addresses"
_EVERY_LINE = "evanesce_every_line"

OWN_ADDRESSES: Mapping[str, object] = {_OWN_ADDRESSES: True}
"""The record holds addresses of servers, none of clients: they are kept, whatever `logs.addresses` says."""

EVERY_LINE: Mapping[str, object] = {_EVERY_LINE: True}
"""Each such record is written, however many there are. Clients must not be able to cause them."""


def fields(**values: object) -> dict[str, object]:
    """Return the `extra` of a record that has fields: `name=value` in text, members of the object in JSON."""
    return {_FIELDS: values}


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the fields of a record."""
    return getattr(record, _FIELDS, {})


def has_own_addresses(record: logging.LogRecord) -> bool:
    """Return whether a record is one of `OWN_ADDRESSES`."""
    return hasattr(record, _OWN_ADDRESSES)


def is_always_written(record: logging.LogRecord) -> bool:
    """Return whether a record is one of `EVERY_LINE`."""
    return hasattr(record, _EVERY_LINE)


def kind_of(record: logging.LogRecord) -> tuple[str, int, str]:
    """Return what the records of one call in the code have in common: logger, level, and text before the arguments."""
    return record.name, record.levelno, str(_event(record))[:KIND_CHARACTERS]


def summed(record: logging.LogRecord, text: str) -> logging.LogRecord:
    """Return a record with another text, and neither the arguments nor the exception of `record`."""
    other = logging.LogRecord(record.name, record.levelno, "", 0, "%s", (text,), None)
    other.__dict__ |= OWN_ADDRESSES if has_own_addresses(record) else {}
    return other


def text_of(record: logging.LogRecord) -> str:
    """Return the text of a record, without its fields."""
    event = _event(record)
    return record.getMessage() if event is record.msg else str(event)


def _event(record: logging.LogRecord) -> object:
    """Return the text before the arguments. A logger of structlog passes it in a dictionary."""
    message: object = record.msg
    return cast("dict[str, object]", message).get("event") if isinstance(message, dict) else message
