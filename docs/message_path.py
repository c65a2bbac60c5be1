"""Draw the picture of the way of a message: `python -m docs.message_path`, in the folder of the checkout.

It reads `explanation/message-path.dot` and writes the SVG file beside it. The source is DOT, so that Graphviz can draw
it too; here only its nodes, subgraphs and edges are read, and the two columns of the picture are laid out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

SOURCE = Path(__file__).parent / "explanation" / "message-path.dot"
PICTURE = SOURCE.with_suffix(".svg")

_SUBGRAPH = re.compile(r'subgraph \w+ \{\s*label="([^"]+)";(.*?)\n  \}', re.DOTALL)
_NODE = re.compile(r'^ {4}"([\w.]+)" \[(.*)\];$', re.MULTILINE)
_EDGE = re.compile(r'^ {2}"([\w.]+)" -> "([\w.]+)"(?: \[(.*)\])?;$', re.MULTILINE)
_ATTRIBUTE = re.compile(r'(\w+)=(?:"([^"]*)"|(\w+))')

_WIDTH, _ROW, _BOX, _WIDE, _MARGIN, _TOP = 880, 66, 48, 400, 20, 92


@dataclass(frozen=True)
class Node:
    """A module on the way: what it does there, and which modules it calls meanwhile."""

    module: str
    label: str
    uses: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """A step of the way. `via` names the interface between two modules that do not import each other."""

    tail: str
    head: str
    via: str | None


@dataclass(frozen=True)
class Way:
    """The picture: its columns by their headings, and the steps."""

    columns: dict[str, list[Node]]
    edges: list[Edge]


def read(source: str) -> Way:
    """Read the DOT source."""
    columns: dict[str, list[Node]] = {}
    for label, body in _SUBGRAPH.findall(source):
        columns[label] = []
        for module, text in _NODE.findall(body):
            found = attributes(text)
            columns[label].append(Node(module, found["label"], tuple(found.get("uses", "").split())))
    edges = [Edge(tail, head, attributes(text).get("via")) for tail, head, text in _EDGE.findall(source)]
    return Way(columns, edges)


def attributes(text: str) -> dict[str, str]:
    """Return the attributes of a node or an edge."""
    return {name: quoted or plain for name, quoted, plain in _ATTRIBUTE.findall(text)}


def draw(way: Way) -> str:
    """Return the SVG: the first column goes down, Redis is at the bottom, and the second column goes up."""
    (first, down), (second, up) = way.columns.items()
    rows = max(len(down), len(up))
    redis = _TOP + rows * _ROW
    right = _WIDTH - _MARGIN - _WIDE
    places: dict[str, tuple[int, int]] = {}
    for row, node in enumerate(down):
        places[node.module] = (_MARGIN, _TOP + row * _ROW)
    for row, node in enumerate(reversed(up)):
        places[node.module] = (right, _TOP + (rows - len(up) + row) * _ROW)
    parts = [
        f'<text x="{_MARGIN + _WIDE // 2}" y="28" class="heading">{escape(first)}</text>',
        f'<text x="{right + _WIDE // 2}" y="28" class="heading">{escape(second)}</text>',
        _end("socket of the sender", _MARGIN, 44),
        _end("sockets of the members", right, places[up[-1].module][1] - 48),
        _end("Redis", (_WIDTH - _WIDE) // 2, redis + 8),
    ]
    for number, node in enumerate([*down, *up], 1):
        parts += _box(number, node, *places[node.module])
    centre = _WIDE // 2
    for edge in way.edges:
        (x, tail), (_, head) = places[edge.tail], places[edge.head]
        ends = (tail + _BOX, head - 3) if head > tail else (tail, head + _BOX + 3)
        parts.append(_arrow(x + centre, *ends, dashed=edge.via is not None))
    parts.append(_arrow(_MARGIN + centre, 72, _TOP - 3))
    last = places[down[-1].module][1]
    parts.append(_bend(_MARGIN + centre, last + _BOX, (_WIDTH - _WIDE) // 2, redis + 22))
    parts.append(_bend((_WIDTH + _WIDE) // 2, redis + 22, right + centre, places[up[0].module][1] + _BOX + 3))
    parts.append(_arrow(right + centre, places[up[-1].module][1], places[up[-1].module][1] - 17))
    head = HEAD.format(title="The modules that a message passes through", width=_WIDTH, height=redis + 52)
    return head + "\n".join(parts) + "\n</svg>\n"


HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font: 13px sans-serif; fill: #1f2328; }}
.heading {{ font-weight: bold; font-size: 15px; text-anchor: middle; }}
.module {{ font: bold 13px monospace; }}
.end {{ text-anchor: middle; font-style: italic; }}
rect {{ fill: #f6f8fa; stroke: #57606a; }}
.outside {{ fill: #ddf4ff; }}
path {{ stroke: #57606a; fill: none; }}
.dashed {{ stroke-dasharray: 5 4; }}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0 L8,4 L0,8 z" style="fill: #57606a"/></marker></defs>
<rect width="{width}" height="{height}" style="fill: #ffffff; stroke: none"/>
"""


def _box(number: int, node: Node, x: int, y: int) -> list[str]:
    text = node.label
    if node.uses:
        text += f" (with {', '.join(used.removeprefix('evanesce.') for used in node.uses)})"
    return [
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_BOX}" rx="5"/>',
        f'<text x="{x + 10}" y="{y + 19}" class="module">{number}. {node.module}</text>',
        f'<text x="{x + 10}" y="{y + 38}">{escape(text)}</text>',
    ]


def _end(text: str, x: int, y: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="28" rx="14" class="outside"/>'
        f'<text x="{x + _WIDE // 2}" y="{y + 19}" class="end">{text}</text>'
    )


def _arrow(x: int, start: int, end: int, *, dashed: bool = False) -> str:
    style = ' class="dashed"' if dashed else ""
    return f'<path d="M{x},{start} L{x},{end}" marker-end="url(#head)"{style}/>'


def _bend(x: int, y: int, to_x: int, to_y: int) -> str:
    corner = f"{x},{to_y}" if to_y > y else f"{to_x},{y}"
    return f'<path d="M{x},{y} L{corner} L{to_x},{to_y}" marker-end="url(#head)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(read(SOURCE.read_text("utf-8"))), "utf-8")
