"""Files that are served over HTTP. They are read once, before the event loop starts."""

from __future__ import annotations

import gzip
import mimetypes
from importlib.resources.abc import Traversable

from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute


def content_type(name: str) -> str:
    """Return the media type of a file with this name. Text is UTF-8."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/javascript" else kind


def file_route(path: str, file: Traversable, *, for_ever: bool = False) -> HttpRoute:
    """Return a route for a file, such as one in the package of a plugin. The file is read now.

    With `for_ever`, browsers cache the file without checking again. Use it where a changed file gets another path.
    """
    body, kind = file.read_bytes(), content_type(path)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if for_ever else "no-cache",
        "Vary": "Accept-Encoding",
    }
    plain = HttpResponse(body, content_type=kind, headers=headers)
    compressed = HttpResponse(
        gzip.compress(body, mtime=0), content_type=kind, headers=headers | {"Content-Encoding": "gzip"}
    )

    async def serve(request: HttpRequest) -> HttpResponse:
        return compressed if _accepts_gzip(request) else plain

    return HttpRoute("GET", path, serve)


def _accepts_gzip(request: HttpRequest) -> bool:
    accepted = [value for name, value in request.headers.items() if name.lower() == "accept-encoding"]
    return any(coding.strip().lower() == "gzip" for value in accepted for coding in value.split(","))
