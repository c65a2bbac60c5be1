"""QR codes for the page: drawn in a thread, one at a time, so that many who ask take the time of one."""

from __future__ import annotations

import io

import segno
import trio

from evanesce.errors import AuthUnavailable, BadRequest
from evanesce.interfaces import HttpRequest, HttpResponse

TEXT_BYTES = 1024
"""The longest text: drawing it takes some 40 ms, that of a usual link 5 ms."""

WAITING = 32
"""How many may wait for their turn: about a second's worth at the worst."""

QUIET = 4
"""The empty margin that readers need, in modules (ISO/IEC 18004, 5.3.8)."""


class QrCodes:
    """Draws what is posted as text."""

    def __init__(self) -> None:
        self._door = trio.CapacityLimiter(1)

    async def draw(self, request: HttpRequest) -> HttpResponse:
        """Give the request's body as an SVG. Raises `BadRequest`, and `AuthUnavailable` where too many wait."""
        text = _text(request.body)
        if self._door.statistics().tasks_waiting >= WAITING:
            raise AuthUnavailable("Too many QR codes are asked for at once. Try again in a moment.")
        return HttpResponse(await trio.to_thread.run_sync(svg, text, limiter=self._door), content_type="image/svg+xml")


def svg(text: str) -> bytes:
    """Draw a QR code: black on white, whatever is around it, and as large as its place."""
    drawing = io.BytesIO()
    look = {"border": QUIET, "dark": "#000", "light": "#fff", "omitsize": True, "svgclass": None, "lineclass": None}
    segno.make(text, micro=False).save(drawing, kind="svg", xmldecl=False, nl=False, **look)
    return drawing.getvalue()


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadRequest("body", "The text is UTF-8.") from None
    if not text or len(body) > TEXT_BYTES:
        raise BadRequest("body", f"The text is 1 to {TEXT_BYTES} bytes.")
    return text
