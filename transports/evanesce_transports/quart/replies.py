"""Replies over HTTP: the protocol's objects without `type` and `ref`, errors with the status that belongs to them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from quart import Response

from evanesce.errors import CommandError, ErrorCode
from evanesce.protocol import codec


def json_reply(value: Any, status: int = 200) -> Response:
    """Give `value` as JSON."""
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")


def error_reply(error: CommandError, status: int | None = None) -> Response:
    """Give `error` with its own status, or another."""
    reply = json_reply(codec.bare(codec.error_reply(error)), status or error.code.http_status)
    if error.retry_after is not None:
        reply.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return reply


def error_of(code: ErrorCode, message: str, status: int | None = None) -> Response:
    """Give an error that is none of a command."""
    return error_reply(CommandError(code, message), status)
