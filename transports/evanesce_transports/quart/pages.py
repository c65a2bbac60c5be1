"""The web client: the files of `static/`, read once, the pages that they make, and how one signs in on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import msgspec
from quart import Blueprint, Response, abort

from evanesce.files import content_type
from evanesce.interfaces import SignInPage
from evanesce_transports.quart.headers import policy

INDEX = "index.html"

SIGN_IN = "sign-in.json"
"""The list of the ways to sign in, beside the files."""


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the web client."""

    body: bytes
    content_type: str


def load_pages() -> Mapping[str, Page]:
    """Read the web client's files, by name. Reads the disk: to be called before the event loop starts."""
    folder = resources.files("evanesce_transports.quart") / "static"
    return {file.name: Page(file.read_bytes(), content_type(file.name)) for file in folder.iterdir() if file.is_file()}


def pages_blueprint(pages: Mapping[str, Page], sign_in_pages: Sequence[SignInPage]) -> Blueprint:
    """Give the routes of the web client, with its ways to sign in, in order."""
    blueprint = Blueprint("pages", __name__)
    ways = msgspec.json.encode([{"provider": page.provider, "module": page.module} for page in sign_in_pages])
    files = {**pages, SIGN_IN: Page(ways, content_type(SIGN_IN))}
    page_policy = policy(sign_in_pages)

    @blueprint.get("/")
    async def index() -> Response:
        return page()

    @blueprint.get("/r/<room_id>")
    async def room(room_id: str) -> Response:
        """Serve the deep link: the page looks at its own address."""
        return page()

    @blueprint.get("/static/<name>")
    async def static(name: str) -> Response:
        return serve(name)

    def page() -> Response:
        response = serve(INDEX)
        response.headers["Content-Security-Policy"] = page_policy
        return response

    def serve(name: str) -> Response:
        file = files.get(name)
        if file is None:
            abort(404)
        return Response(file.body, content_type=file.content_type, headers={"Cache-Control": "no-cache"})

    return blueprint
