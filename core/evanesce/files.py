"""Files that are served over HTTP: read once, before the event loop starts, and given to whoever asks for them."""

from __future__ import annotations

import mimetypes
from importlib.resources.abc import Traversable

from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute


def content_type(name: str) -> str:
    """Give the media type of a file of this name; text is UTF-8."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/javascript" else kind


def file_route(path: str, file: Traversable, *, for_ever: bool = False) -> HttpRoute:
    """Give the route of a file, such as one of the plugin's own package. Reads it now.

    With `for_ever` browsers keep what they got: for a path that is another one when the file is.
    """
    caching = "public, max-age=31536000, immutable" if for_ever else "no-cache"
    response = HttpResponse(file.read_bytes(), content_type=content_type(path), headers={"Cache-Control": caching})

    async def give(request: HttpRequest) -> HttpResponse:
        return response

    return HttpRoute("GET", path, give)
