"""QR codes for the page, drawn in a thread, one at a time and with pauses, so that they do not delay other work."""

from __future__ import annotations

import io
import sys

import segno
import trio

from evanesce.errors import AuthUnavailable, BadRequest
from evanesce.interfaces import HttpRequest, HttpResponse

TEXT_BYTES = 512
"""The longest text. Drawing it takes about 7 ms, and that of a usual link 3 ms."""

MASK = 3
"""The mask of every code (ISO/IEC 18004, 7.8). Every mask can be read; choosing the best of the eight would take three
quarters of the time."""

WAITING = 16
"""The most requests that may wait: at most about 0.5 s of work."""

RESTS = 3
"""The pause after a drawing, as a multiple of its time: the thread uses at most a quarter of the interpreter."""

SWITCH_SECONDS = 0.000_5
"""The interpreter's switch interval during a drawing, in seconds.

The event loop may wait this long after each system call; with Python's default of 5 ms it would fall behind.
"""

QUIET = 4
"""The empty margin that readers need, in modules (ISO/IEC 18004, 5.3.8)."""


class QrCodes:
    """Draws the texts of POST requests."""

    def __init__(self) -> None:
        self._queue = trio.CapacityLimiter(1)
        self._thread = trio.CapacityLimiter(1)
        self._rested_at = 0.0  # of Trio's clock

    async def draw(self, request: HttpRequest) -> HttpResponse:
        """Return the request's body as an SVG. Raises `BadRequest`, and `AuthUnavailable` where too many wait."""
        text = text_of(request.body)
        if self._queue.statistics().tasks_waiting >= WAITING:
            raise AuthUnavailable("Too many QR codes are asked for at once. Try again in a moment.")
        async with self._queue:
            await trio.sleep_until(self._rested_at)
            began = trio.current_time()
            try:
                body = await trio.to_thread.run_sync(_draw, text, limiter=self._thread)
            finally:
                now = trio.current_time()
                self._rested_at = now + RESTS * (now - began)
        return HttpResponse(body, content_type="image/svg+xml")


def _draw(text: str) -> bytes:
    """Draw in a thread of its own, with a short switch interval."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        return svg(text)
    finally:
        sys.setswitchinterval(before)


def svg(text: str) -> bytes:
    """Return a QR code as SVG: black on a white background, scaled to its container."""
    drawing = io.BytesIO()
    look = {"border": QUIET, "dark": "#000", "light": "#fff", "omitsize": True, "svgclass": None, "lineclass": None}
    segno.make(text, micro=False, mask=MASK).save(drawing, kind="svg", xmldecl=False, nl=False, **look)
    return drawing.getvalue()


def text_of(body: bytes) -> str:
    """Return the text to draw, 1 to `TEXT_BYTES` bytes of UTF-8. Raises `BadRequest`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadRequest("body", "The text is UTF-8.") from None
    if not text or len(body) > TEXT_BYTES:
        raise BadRequest("body", f"The text is 1 to {TEXT_BYTES} bytes.")
    return text
