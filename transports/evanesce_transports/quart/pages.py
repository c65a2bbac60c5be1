"""The web client: the pages, and their files below a folder whose name is a digest of all of them.

A browser keeps the files for ever, and asks about a page at every visit. The transport serves both itself: they need
nothing of the application, and a browser gets several of them over one connection.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from urllib.parse import unquote
from uuid import UUID

from evanesce.errors import CommandError, ErrorCode
from evanesce.files import content_type, digest, static_file
from evanesce.interfaces import HttpResponse, HttpRoute, SignInPage, StaticFile
from evanesce_transports.quart.joining import join_modules
from evanesce_transports.quart.responses import document_headers
from evanesce_transports.request import Refused, Request

INDEX = "index.html"
OFFLINE = "offline.html"
WORKER = "service-worker.js"
ENTRY = "chat.js"
"""The module that `INDEX` loads, and into which all others are joined."""

STYLE = "chat.css"
"""The style sheet into which those of `INDEX` are joined."""

WORKER_PATH = f"/{WORKER}"
"""The path of the service worker. It controls the pages below the folder of this path: all of them."""

ROOMS = "/r/"
"""The beginning of the paths of rooms."""

METHODS = "GET, HEAD"

_FOLDER = "/static"
_NOT_SERVED = (INDEX, WORKER, "client/driver.js")  # the last one is a program for Node
_HEAD_END = b"</head>"
_STYLE_LINK = re.compile(rb'<link rel="stylesheet" href="/static/([a-z-]+\.css)">\n')


@dataclass(frozen=True, eq=False)
class Assets:
    """What the pages consist of. `files` are served below `folder`, the pages and the worker elsewhere."""

    folder: str
    public_path: str
    files: Mapping[str, bytes]
    index: bytes
    worker: bytes

    @functools.cached_property
    def compressed(self) -> Mapping[str, StaticFile]:
        """The files by their paths. To compress them takes 0.2 s."""
        return {
            f"{self.folder}/{name}": static_file(body, content_type(name), for_ever=True)
            for name, body in self.files.items()
        }


@functools.cache
def read_assets(public_path: str) -> Assets:
    """Read the files of the web client, and join its modules. Call it before the event loop starts.

    The URLs of the pages get the prefix `public_path`, which is empty or begins with a slash. All other files use URLs
    relative to themselves.
    """
    read = dict(_read(resources.files("evanesce_transports.quart") / "static"))
    scripts = {name: body.decode() for name, body in read.items() if name.endswith(".js") and name not in _NOT_SERVED}
    joined = {name: text.encode() for name, text in join_modules(scripts, ENTRY).items()}
    others = {
        name: body for name, body in read.items() if not name.endswith((".js", ".css")) and name not in _NOT_SERVED
    }
    files = others | joined | {STYLE: _join_styles(read)}
    folder = f"{_FOLDER}/{digest(files)}"

    def with_addresses(page: bytes) -> bytes:
        prefix = public_path.encode("ascii")
        return (
            _with_one_style(page)
            .replace(b'="/', b'="%s/' % prefix)
            .replace(b'="%s%s/' % (prefix, _FOLDER.encode()), b'="%s%s/' % (prefix, folder.encode()))
        )

    files[OFFLINE] = with_addresses(files[OFFLINE])
    worker = read[WORKER].replace(b'"static"', b'"%s"' % folder.removeprefix("/").encode())
    return Assets(folder, public_path, files, with_addresses(read[INDEX]), worker)


def _join_styles(read: Mapping[str, bytes]) -> bytes:
    """Return the style sheets that the page names as one."""
    return b"".join(read[name.decode()] for name in _STYLE_LINK.findall(read[INDEX]))


def _with_one_style(page: bytes) -> bytes:
    """Return a page that names the joined style sheet in place of all that it names."""
    links = iter([b'<link rel="stylesheet" href="%s/%s">\n' % (_FOLDER.encode(), STYLE.encode())])
    return _STYLE_LINK.sub(lambda _: next(links, b""), page)


class Site:
    """The pages and all files, as responses to requests. `files` are by their paths."""

    def __init__(self, page: StaticFile, files: Mapping[str, StaticFile]) -> None:
        self._page = page
        self._files = files

    def respond(self, request: Request) -> HttpResponse | None:
        """Return the response to a request; None where it is for no page and no file. Raises `Refused` for a method."""
        path = request.path.decode("ascii")
        file = self._files.get(path)
        location = None
        if file is None:
            if not _is_page(path):
                return None
            file, location = self._page, _canonical_location(path)
        if request.head.method not in (b"GET", b"HEAD"):
            error = CommandError(ErrorCode.UNKNOWN_TYPE, "This address does not support this method.")
            raise Refused(405, error, allow=METHODS)
        if location is not None:
            return HttpResponse(b"", 301, headers={"Location": location, "Cache-Control": "no-store"})
        asked = {name: ",".join(value.decode("latin-1") for value in request.values(name.encode())) for name in _ASKED}
        return file.respond(asked)


_ASKED = ("accept-encoding", "if-none-match")


def build_site(assets: Assets, sign_in_pages: Sequence[SignInPage], routes: Iterable[HttpRoute]) -> Site:
    """Return the site with these ways to sign in, in order, and the files of plugins. It compresses: use a thread."""
    headers = document_headers(sign_in_pages)
    page = replace(static_file(_with_ways(assets, sign_in_pages), "text/html; charset=utf-8"), headers=headers)
    etag = f'W/"{digest({"page": page.forms["identity"], "headers": repr(headers).encode()})}"'
    files = {
        **{route.path: route.file for route in routes if route.file is not None},
        **assets.compressed,
        WORKER_PATH: static_file(assets.worker, content_type(WORKER)),
    }
    return Site(replace(page, etag=etag), files)


def _with_ways(assets: Assets, sign_in_pages: Sequence[SignInPage]) -> bytes:
    """Return the page with the modules for signing in, which the page's script finds.

    The browser does not preload them: it would open a third connection, for less time than that takes.
    """
    ways = "".join(
        f'  <meta name="sign-in" content="{html.escape(assets.public_path + page.module)}"'
        f' data-provider="{html.escape(page.provider)}">\n'
        for page in sign_in_pages
    )
    return assets.index.replace(_HEAD_END, ways.encode() + _HEAD_END, 1)


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the files that a browser may need: of folders below this one, the scripts alone."""
    for file in folder.iterdir():
        if file.is_dir():
            yield from _read(file, f"{prefix}{file.name}/")
        elif not prefix or file.name.endswith(".js"):
            yield f"{prefix}{file.name}", file.read_bytes()


def _is_page(path: str) -> bool:
    room = path.removeprefix(ROOMS)
    return path == "/" or (room != path and room.removesuffix("/") != "" and "/" not in room.removesuffix("/"))


def _canonical_location(path: str) -> str | None:
    """Return where a deep link leads that is not canonical: the page reads the room from its own URL. None: it is.

    The result is relative, because the host and the path before it may differ behind a proxy. A browser keeps the
    fragment.
    """
    written = path.removeprefix(ROOMS)
    canonical = _canonical(unquote(written.removesuffix("/")))
    if path == "/" or canonical is None or written == canonical:
        return None
    return f"../{canonical}" if written.endswith("/") else canonical


def _canonical(room_id: str) -> str | None:
    """Return the id of a room in the form of deep links, in lower case; None where it is not an id."""
    text = room_id.lower()
    try:
        return text if str(UUID(text)) == text else None
    except ValueError:
        return None
