"""Answers over HTTP, as JSON or as a page."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT",
    "Access-Control-Allow-Headers": "*",
}
"""For what pages of any origin may use."""


def json(value: Any, status: int = 200) -> Response:
    """Answer with `value`."""
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def html(text: str, status: int = 200) -> Response:
    """Answer with a page."""
    return Response(text, status, content_type="text/html; charset=utf-8")


def empty(status: int) -> Response:
    """Answer with a status alone."""
    return Response(b"", status)  # without a body Quart would make one that needs asyncio


def refusal(status: int, code: str, detail: str, attribute: str | None = None, **more: str) -> Response:
    """Answer with an error as World's portal writes most of its: without a `success`."""
    return json({"code": code, "detail": detail, "attribute": attribute, **more}, status)
