"""HTTP responses, as JSON or as a page."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT",
    "Access-Control-Allow-Headers": "*",
}
"""The headers of responses that pages of any origin may read."""


def json(value: Any, status: int = 200) -> Response:
    """Return a response with `value` as JSON."""
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def html(text: str, status: int = 200) -> Response:
    """Return a response with a page."""
    return Response(text, status, content_type="text/html; charset=utf-8")


def empty(status: int) -> Response:
    """Return a response with a status alone."""
    return Response(b"", status)  # without a body, Quart would create one that needs asyncio


def refusal(status: int, code: str, detail: str, attribute: str | None = None, **more: str) -> Response:
    """Return an error in the form that World's portal uses for most errors: without a `success`."""
    return json({"code": code, "detail": detail, "attribute": attribute, **more}, status)
