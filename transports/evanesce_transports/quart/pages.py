"""The web client: the files of `static/`, read once, and the pages that they make."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from quart import Blueprint, Response, abort

INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the web client."""

    body: bytes
    content_type: str


def load_pages() -> Mapping[str, Page]:
    """Read the web client's files, by name. Reads the disk: to be called before the event loop starts."""
    folder = resources.files("evanesce_transports.quart") / "static"
    return {file.name: Page(file.read_bytes(), _content_type(file.name)) for file in folder.iterdir() if file.is_file()}


def _content_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/javascript" else kind


def pages_blueprint(pages: Mapping[str, Page]) -> Blueprint:
    """Give the routes of the web client."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    async def index() -> Response:
        return _serve(pages, INDEX)

    @blueprint.get("/r/<room_id>")
    async def room(room_id: str) -> Response:
        """Serve the deep link: the page looks at its own address."""
        return _serve(pages, INDEX)

    @blueprint.get("/static/<name>")
    async def static(name: str) -> Response:
        return _serve(pages, name)

    return blueprint


def _serve(pages: Mapping[str, Page], name: str) -> Response:
    page = pages.get(name)
    if page is None:
        abort(404)
    return Response(page.body, content_type=page.content_type, headers={"Cache-Control": "no-cache"})
