"""Files that are served over HTTP: read once, before the event loop starts, and given to whoever asks for them."""

from __future__ import annotations

import gzip
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
    body, kind = file.read_bytes(), content_type(path)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if for_ever else "no-cache",
        "Vary": "Accept-Encoding",
    }
    plain = HttpResponse(body, content_type=kind, headers=headers)
    packed = HttpResponse(
        gzip.compress(body, mtime=0), content_type=kind, headers=headers | {"Content-Encoding": "gzip"}
    )

    async def give(request: HttpRequest) -> HttpResponse:
        return packed if _takes_gzip(request) else plain

    return HttpRoute("GET", path, give)


def _takes_gzip(request: HttpRequest) -> bool:
    accepted = [value for name, value in request.headers.items() if name.lower() == "accept-encoding"]
    return any(coding.strip().lower() == "gzip" for value in accepted for coding in value.split(","))
