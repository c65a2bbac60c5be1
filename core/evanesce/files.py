"""Files that are served over HTTP. They are read and compressed once, before the event loop starts."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.util
import mimetypes
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any

from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, StaticFile

FOR_EVER = "public, max-age=31536000, immutable"
"""The Cache-Control of a file whose path changes with its content."""

REVALIDATE = "no-cache"
"""The Cache-Control of a file that a browser keeps, and asks about before each use."""

_COMPRESSED = ("text/", "application/javascript", "application/json", "application/manifest+json", "image/svg+xml")

# Python has no Brotli. Where the library is installed (`evanesce[brotli]`), files get a seventh smaller.
_brotli: Any = importlib.import_module("brotli") if importlib.util.find_spec("brotli") else None


def content_type(name: str) -> str:
    """Return the media type of a file with this name. Text is UTF-8."""
    if name.endswith(".webmanifest"):  # which the tables of older systems do not know
        return "application/manifest+json"
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/javascript" else kind


def digest(files: Mapping[str, bytes]) -> str:
    """Return a digest of the names and contents of files, for a path: 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name, body in sorted(files.items()):
        found.update(b"%s\0%d\0%s" % (name.encode(), len(body), body))
    return found.hexdigest()[:16]


def static_file(body: bytes, kind: str, *, for_ever: bool = False) -> StaticFile:
    """Return a file with the media type `kind`, compressed where that makes it smaller.

    It takes up to 10 ms for each 10 kB: do not call it on the event loop for large files.
    """
    codings = {"identity": body}
    if kind.startswith(_COMPRESSED):
        if _brotli is not None:
            codings["br"] = _brotli.compress(body)
        codings["gzip"] = gzip.compress(body, mtime=0)
    smaller = {coding: form for coding, form in codings.items() if coding == "identity" or len(form) < len(body)}
    return StaticFile(
        kind, smaller, etag=f'W/"{digest({"": body})}"', cache_control=FOR_EVER if for_ever else REVALIDATE
    )


def file_route(path: str, file: Traversable, *, for_ever: bool = False) -> HttpRoute:
    """Return a route for a file, such as one in the package of a plugin. The file is read now.

    With `for_ever`, browsers cache the file without checking again. Use it where a changed file gets another path.
    """
    return _route(path, static_file(file.read_bytes(), content_type(path), for_ever=for_ever))


def file_routes(prefix: str, files: Sequence[Traversable]) -> Mapping[str, HttpRoute]:
    """Return routes for files, by name. Their path is `prefix`, a digest of all of them, and the name.

    So browsers cache them for ever, and get all of them anew where one has changed. They may refer to each other by
    relative paths. The files are read now.
    """
    bodies = {file.name: file.read_bytes() for file in files}
    folder = f"{prefix}/{digest(bodies)}"
    return {
        name: _route(f"{folder}/{name}", static_file(body, content_type(name), for_ever=True))
        for name, body in bodies.items()
    }


def _route(path: str, file: StaticFile) -> HttpRoute:
    async def serve(request: HttpRequest) -> HttpResponse:
        return file.respond(request.headers)

    return HttpRoute("GET", path, serve, file)
