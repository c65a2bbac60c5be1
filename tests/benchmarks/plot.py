"""The plot: what small rooms, a large room and a return cost, on one page of SVG that needs nothing else.

It shows servers that have rooms. Each panel says what it shows, in which unit, and which direction is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from tests.benchmarks.contenders import (
    CENTRIFUGO,
    CENTRIFUGO_REDIS,
    EJABBERD,
    NATS,
    NCHAN,
    NCHAN_REDIS,
    SOCKETIO,
    SOCKETIO_RECOVERY,
    SOCKETIO_REDIS,
)
from tests.benchmarks.report import Figure, Summary
from tests.benchmarks.scenarios import Scale

_STORING = "keeps messages for a time"
_FORGETTING = "keeps nothing"
_KINDS = {
    # Peers by what they do with a message; Evanesce stores it in its Valkey.
    **{peer.name: _STORING for peer in (NCHAN_REDIS, NCHAN, CENTRIFUGO_REDIS, CENTRIFUGO, SOCKETIO_RECOVERY)},
    **{peer.name: _FORGETTING for peer in (SOCKETIO_REDIS, SOCKETIO, NATS, EJABBERD)},
}
_COLORS = {"Evanesce": "#2f6db5", _STORING: "#7d8794", _FORGETTING: "#cdd3da"}

_PANEL_WIDTH, _NAME, _VALUE = 560, 178, 90
_HEAD, _TITLE, _BAR, _GAP, _MARGIN, _FOOT = 84, 50, 22, 26, 24, 34
_INK, _QUIET, _SPREAD = "#1d2126", "#5b636d", "#33383e"


@dataclass(frozen=True, slots=True)
class Panel:
    """A value of a scenario, in words."""

    title: str
    unit: str
    scenario: str
    value: str
    written: str
    more_is_better: bool = False


def panels(scale: Scale) -> list[Panel]:
    """Return what is plotted."""
    large, rooms, people = scale.rooms_of[0], scale.small_rooms[-1], scale.returning
    return [
        Panel(
            f"What a message costs in rooms of 4 ({rooms:,} rooms, all talking)",
            "µs of CPU per message, store included",
            f"{rooms} rooms of 4, all talking",
            "cpu_us_per_message",
            ",.0f",
        ),
        Panel(
            f"How long a message takes to all {large:,} people in a room",
            "ms until the last one has it, median, one message at a time",
            f"{large} members, 1 in flight",
            "p50_ms",
            ".1f",
        ),
        Panel(
            f"How much one room of {large:,} people can carry",
            "deliveries per second, 50 messages in flight",
            f"{large} members, 50 in flight",
            "deliveries_per_second",
            ",.0f",
            more_is_better=True,
        ),
        Panel(
            f"{people:,} people lose their connection and come back at once",
            "seconds until all are back and have what they missed",
            f"{people} people come back",
            "seconds",
            ".2f",
        ),
    ]


def svg(summary: Summary, scale: Scale) -> str:
    """Draw medians as bars, the best first, with a line from the least to the largest."""
    drawn = [(panel, bars) for panel in panels(scale) if (bars := _bars(summary, panel))]
    rows = [drawn[place : place + 2] for place in range(0, len(drawn), 2)]
    width = 2 * _PANEL_WIDTH + 3 * _MARGIN
    parts = [
        _text(_MARGIN, 34, "Evanesce and other servers on one core", size=20, weight=600),
        *_legend(_MARGIN, 60),
    ]
    top = _HEAD
    for row in rows:
        for column, (panel, bars) in enumerate(row):
            parts += _panel(panel, bars, _MARGIN + column * (_PANEL_WIDTH + _MARGIN), top)
        top += _TITLE + max(len(bars) for _, bars in row) * _BAR + _GAP
    note = (
        "Bars: medians. Lines: least and largest. “Redis”: with a Valkey, whose CPU is counted. Contents of 200 bytes."
    )
    parts.append(_text(_MARGIN, top + 8, note, color=_QUIET))
    height = top + _FOOT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>", ""])


def _bars(summary: Summary, panel: Panel) -> dict[str, Figure]:
    """Return the bars of a panel. Who has lost messages has not done what the panel shows."""
    found: dict[str, Figure] = {}
    for name, figures in summary.figures.get(panel.scenario, {}).items():
        missed = figures.get("missed")
        if panel.value in figures and _kind(name) is not None and (missed is None or not missed.largest):
            found[name] = figures[panel.value]
    return dict(sorted(found.items(), key=lambda item: item[1].median, reverse=panel.more_is_better))


def _kind(name: str) -> str | None:
    return "Evanesce" if name.startswith("Evanesce") else _KINDS.get(name)


def _legend(left: int, top: int) -> list[str]:
    parts: list[str] = []
    for kind, color in _COLORS.items():
        parts.append(f'<rect x="{left}" y="{top - 11}" width="13" height="13" fill="{color}"/>')
        label = "Evanesce (keeps messages until they expire)" if kind == "Evanesce" else f"a server that {kind}"
        parts.append(_text(left + 19, top, label))
        left += 60 + 7 * len(label)
    return parts


def _panel(panel: Panel, bars: Mapping[str, Figure], left: int, top: int) -> list[str]:
    most = max(figure.largest for figure in bars.values()) or 1.0
    scale = (_PANEL_WIDTH - _NAME - _VALUE) / most
    better = "longer is better" if panel.more_is_better else "shorter is better"
    parts = [
        _text(left, top + 14, panel.title, size=15, weight=600),
        _text(left, top + 33, f"{panel.unit}; {better}", color=_QUIET),
    ]
    start = left + _NAME
    for number, (name, figure) in enumerate(bars.items()):
        y = top + _TITLE + number * _BAR
        kind = _kind(name)
        assert kind is not None
        weight = 600 if kind == "Evanesce" else 400
        middle = y + (_BAR - 5) // 2
        parts += [
            _text(start - 8, y + 13, name, weight=weight, anchor="end"),
            f'<rect x="{start}" y="{y}" width="{max(1.0, figure.median * scale):.1f}" height="{_BAR - 5}" '
            f'fill="{_COLORS[kind]}"/>',
            f'<line x1="{start + figure.least * scale:.1f}" x2="{start + figure.largest * scale:.1f}" '
            f'y1="{middle}" y2="{middle}" stroke="{_SPREAD}"/>',
            _text(start + figure.largest * scale + 6, y + 13, f"{figure.median:{panel.written}}", weight=weight),
        ]
    return parts


def _text(
    x: float, y: float, words: str, *, size: int = 13, weight: int = 400, color: str = _INK, anchor: str = "start"
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{color}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
