"""Files that are served over HTTP: read once, before the event loop starts, and given to whoever asks for them."""

from __future__ import annotations

import mimetypes
from importlib.resources.abc import Traversable

from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute


def content_type(name: str) -> str:
    """Give the media type of a file of this name; text is UTF-8."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/javascript" else kind


def file_route(path: str, file: Traversable) -> HttpRoute:
    """Give the route of a file, such as one of the plugin's own package. Reads it now."""
    response = HttpResponse(file.read_bytes(), content_type=content_type(path), headers={"Cache-Control": "no-cache"})

    async def give(request: HttpRequest) -> HttpResponse:
        return response

    return HttpRoute("GET", path, give)
