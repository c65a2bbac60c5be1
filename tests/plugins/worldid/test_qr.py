"""QR codes: as segno makes them, one at a time, with a bound on how many wait."""

from __future__ import annotations

import re
import sys
import threading
import time

import pytest
import segno
import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.errors import AuthUnavailable, BadRequest
from evanesce.interfaces import HttpRequest
from evanesce_plugins.worldid import qr
from tests.patience import PATIENCE

LINK = "https://world.org/verify?t=wld&i=11111111-1111-4111-8111-111111111111&k=lomvxWoY%2FWR%2Bv1G9v4dUxyQGGq7L6s8h%3D"


def posted(body: bytes) -> HttpRequest:
    return HttpRequest(method="POST", path="/worldid/qr", query={}, headers={}, body=body, user=None)


def modules(path: str) -> set[tuple[int, int]]:
    """Return the dark modules that a path draws: relative moves, and strokes of one module's height."""
    dark: set[tuple[int, int]] = set()
    x = y = 0.0
    for command, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path):
        if command == "h":
            dark |= {(int(x) + step, int(y)) for step in range(int(first))}
            x += int(first)
        else:
            x, y = (float(first), float(second)) if command == "M" else (x + float(first), y + float(second))
    return dark


@pytest.mark.parametrize(
    "text", ["x", LINK, "https://chat.example/#account=00000000-0000-4000-8000-000000000000", "é" * 256]
)
async def test_the_modules_are_those_of_the_code(text: str) -> None:
    answer = await qr.QrCodes().draw(posted(text.encode()))
    assert answer.content_type == "image/svg+xml"
    drawing = answer.body.decode()
    code = segno.make(text, micro=False, mask=qr.MASK)
    side = code.symbol_size(border=4)[0]
    assert f'viewBox="0 0 {side} {side}"' in drawing
    ground, dark = re.findall(r' d="([^"]+)"', drawing)
    assert ground == f"M0 0h{side}v{side}h-{side}z"
    expected = {(x + 4, y + 4) for y, row in enumerate(code.matrix) for x, module in enumerate(row) if module}
    assert modules(dark) == expected
    assert not re.search(r"style|class|script|<text", drawing), "the page's policy lets nothing inline be"


@pytest.mark.parametrize("body", [b"", b"\xff", b"x" * 513, "é".encode() * 257])
async def test_what_is_no_text_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        await qr.QrCodes().draw(posted(body))
    assert caught.value.field == "body"


async def test_one_at_a_time_and_not_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    drawing = 0
    most = 0

    def slowly(text: str) -> bytes:
        nonlocal drawing, most
        drawing += 1
        most = max(most, drawing)
        assert gate.wait(10)
        drawing -= 1
        return text.encode()

    monkeypatch.setattr(qr, "svg", slowly)
    codes = qr.QrCodes()
    drawn: list[bytes] = []

    async def draw(number: int) -> None:
        drawn.append((await codes.draw(posted(b"%d" % number))).body)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(1 + qr.WAITING):
                nursery.start_soon(draw, number)
            await wait_all_tasks_blocked()
            with pytest.raises(AuthUnavailable):
                await codes.draw(posted(b"one too many"))
            gate.set()
    assert most == 1
    assert sorted(map(int, drawn)) == list(range(1 + qr.WAITING))
    assert (await codes.draw(posted(b"again"))).body == b"again"


async def test_drawing_rests_and_gives_the_interpreter_back_often(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    intervals: list[float] = []
    times: list[float] = []

    def slowly(text: str) -> bytes:
        intervals.append(sys.getswitchinterval())
        times.append(time.monotonic())
        time.sleep(0.05)
        return b""

    monkeypatch.setattr(qr, "svg", slowly)
    codes = qr.QrCodes()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(codes.draw, posted(b"x"))
    assert all(interval <= qr.SWITCH_SECONDS * 1.01 for interval in intervals)
    assert sys.getswitchinterval() == before
    assert times[2] - times[0] >= 2 * 0.05 * (1 + qr.RESTS) - 0.01
