"""The web client: the files of `static/`, the pages, and the list of ways to sign in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from uuid import UUID

import msgspec
from quart import Blueprint, Response, abort, request

from evanesce.files import content_type
from evanesce.interfaces import SignInPage
from evanesce_transports.quart.responses import policy

INDEX = "index.html"

CLIENT = "client"
"""The folder of the client that the page uses."""

FOLDERS = (CLIENT, "locales", "vendor")
"""The folders below that of the page. A browser needs their modules alone."""

SIGN_IN = "sign-in.json"
"""The name of the list of ways to sign in, which is served with the files."""


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the web client."""

    body: bytes
    content_type: str


def load_pages(public_path: str) -> Mapping[str, Page]:
    """Return the files of the web client by name. Reads the disk: call it before the event loop starts.

    The URLs in `INDEX` get the prefix `public_path`. All other files use URLs relative to their module.
    """
    folder = resources.files("evanesce_transports.quart") / "static"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    for name in FOLDERS:
        modules = [file for file in (folder / name).iterdir() if file.name.endswith(".js")]
        files |= {f"{name}/{file.name}": file.read_bytes() for file in modules}
    files[INDEX] = files[INDEX].replace(b'="/', b'="' + public_path.encode("ascii") + b"/")
    return {name: Page(body, content_type(name)) for name, body in files.items()}


def pages_blueprint(pages: Mapping[str, Page], sign_in_pages: Sequence[SignInPage]) -> Blueprint:
    """Return the routes of the web client. `sign_in_pages` are the ways to sign in, in order."""
    blueprint = Blueprint("pages", __name__)
    ways = msgspec.json.encode([{"provider": page.provider, "module": page.module} for page in sign_in_pages])
    files = {**pages, SIGN_IN: Page(ways, content_type(SIGN_IN))}
    page_policy = policy(sign_in_pages)

    @blueprint.get("/")
    async def index() -> Response:
        return page()

    @blueprint.get("/r/<room_id>")
    @blueprint.get("/r/<room_id>/")
    async def room(room_id: str) -> Response:
        """Serve a deep link. The page reads the room from its own URL, so the URL has to be the canonical one."""
        written: bytes = request.scope["raw_path"].rpartition(b"/r/")[2]
        canonical = _canonical(room_id)
        if canonical is None or written == canonical.encode():
            return page()
        # Relative, because the host and the path before it may differ behind a proxy. A browser keeps the fragment.
        location = f"../{canonical}" if written.endswith(b"/") else canonical
        return Response(b"", status=301, headers={"Location": location, "Cache-Control": "no-store"})

    @blueprint.get("/static/<path:name>")
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


def _canonical(room_id: str) -> str | None:
    """Return the id of a room in the form of deep links, in lower case; None where it is not an id."""
    text = room_id.lower()
    try:
        return text if str(UUID(text)) == text else None
    except ValueError:
        return None
