"""Draw the states of a client: `python -m docs.client_states`, in the folder of the checkout.

It reads `reference/client-states.dot` and writes the SVG file beside it. The states stand where their attribute `at`
says; arrows between them are straight, and two that join the same states run beside each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from math import hypot
from pathlib import Path

from docs.message_path import HEAD, attributes

SOURCE = Path(__file__).parent / "reference" / "client-states.dot"
PICTURE = SOURCE.with_suffix(".svg")

_NODE = re.compile(r'^ {2}"(\w+)" \[(.*)\];$', re.MULTILINE)
_EDGE = re.compile(r'^ {2}"(\w+)" -> "(\w+)" \[label="([^"]+)"\];$', re.MULTILINE)

_WIDTH, _HEIGHT, _COLUMN, _ROW, _MARGIN = 130, 44, 180, 68, 50
_APART, _GAP, _CHARACTER = 15, 4, 7.2


@dataclass(frozen=True)
class State:
    """A state: of the `connection`, of a `room`, or a `final` one; `x` and `y` are its centre in the picture."""

    name: str
    kind: str
    x: float
    y: float


@dataclass(frozen=True)
class Transition:
    """What leads from a state to another."""

    tail: str
    head: str
    label: str


def read(source: str) -> tuple[dict[str, State], list[Transition]]:
    """Read the DOT source."""
    states: dict[str, State] = {}
    for name, text in _NODE.findall(source):
        found = attributes(text)
        column, row = map(float, found["at"].split())
        x, y = _MARGIN + column * _COLUMN + _WIDTH / 2, _MARGIN + row * _ROW + _HEIGHT / 2
        states[name] = State(name, found["kind"], x, y)
    return states, [Transition(*edge) for edge in _EDGE.findall(source)]


def draw(states: dict[str, State], transitions: list[Transition]) -> str:
    """Return the SVG."""
    pairs = {(one.tail, one.head) for one in transitions}
    parts = [_box(state) for state in states.values()]
    for one in transitions:
        apart = _APART if (one.head, one.tail) in pairs else 0
        parts += _arrow(states[one.tail], states[one.head], one.label, apart)
    width = max(state.x for state in states.values()) + _WIDTH / 2 + _MARGIN
    height = max(state.y for state in states.values()) + _HEIGHT / 2 + _MARGIN
    head = HEAD.format(title="The states of a client and of a room", width=f"{width:g}", height=f"{height:g}")
    return head + "\n".join(parts) + "\n</svg>\n"


def _box(state: State) -> str:
    x, y = state.x - _WIDTH / 2, state.y - _HEIGHT / 2
    look = ' class="outside"' if state.kind == "final" else ""
    radius = 22 if state.kind == "final" else 5
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="{radius}"{look}/>'
        f'<text x="{state.x:g}" y="{state.y + 5:g}" class="heading">{state.name}</text>'
    )


def _arrow(tail: State, head: State, label: str, apart: float) -> list[str]:
    """Return a line between the borders of two boxes, `apart` from the line of their centres, with its label."""
    length = hypot(head.x - tail.x, head.y - tail.y)
    across, along = (head.x - tail.x) / length, (head.y - tail.y) / length
    side = (-along * apart, across * apart)
    start = _border(tail, across, along, side)
    end = _border(head, -across, -along, side)
    width = len(label) * _CHARACTER
    # Not in the middle of a slanting line, where another may cross it; beside the line where two go up and down.
    place = 0.3 if across and along else 0.5
    x, y = start[0] + (end[0] - start[0]) * place, start[1] + (end[1] - start[1]) * place
    if apart and not across:
        x += width / 2 if side[0] > 0 else -width / 2
    return [
        f'<path d="M{start[0]:.1f},{start[1]:.1f} L{end[0]:.1f},{end[1]:.1f}" marker-end="url(#head)"/>',
        f'<rect x="{x - width / 2:.1f}" y="{y - 10:.1f}" width="{width:.1f}" height="20"'
        ' style="fill: #ffffff; stroke: none"/>',
        f'<text x="{x:.1f}" y="{y + 5:.1f}" class="end">{escape(label)}</text>',
    ]


def _border(state: State, across: float, along: float, side: tuple[float, float]) -> tuple[float, float]:
    """Return where a line leaves a box into a direction; the line is shifted by `side`."""
    x, y = state.x + side[0], state.y + side[1]
    reach = [
        ((_WIDTH / 2 + _GAP) * (1 if across > 0 else -1) - side[0]) / across if across else float("inf"),
        ((_HEIGHT / 2 + _GAP) * (1 if along > 0 else -1) - side[1]) / along if along else float("inf"),
    ]
    return x + across * min(reach), y + along * min(reach)


if __name__ == "__main__":
    PICTURE.write_text(draw(*read(SOURCE.read_text("utf-8"))), "utf-8")
