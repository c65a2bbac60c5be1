"""The plot: a panel of bars for each thing that is compared, as SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from tests.benchmarks.report import COLUMNS, Figure, Summary

PLOTTED = ("deliveries_per_second", "accepted_per_second", "cpu_us_per_delivery", "p99_ms")

_WIDTH, _NAME, _VALUE = 860, 220, 170
_BAR, _TITLE, _GAP, _MARGIN = 20, 30, 14, 20
_OWN, _PEER, _SPREAD = "#3b6ea5", "#b7bec7", "#33383e"


def svg(summary: Summary) -> str:
    """Draw medians as bars, with a line from the least to the largest."""
    parts: list[str] = []
    top = _MARGIN
    for scenario, contenders in summary.figures.items():
        for value in PLOTTED:
            bars = {name: figures[value] for name, figures in contenders.items() if value in figures}
            if len(bars) > 1:
                panel, height = _panel(f"{scenario}: {COLUMNS[value][0]}", bars, COLUMNS[value][1], top)
                parts += panel
                top += height + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{top}" fill="#fff"/>', *parts, "</svg>", ""])


def _panel(title: str, bars: Mapping[str, Figure], written: str, top: int) -> tuple[list[str], int]:
    most = max(figure.largest for figure in bars.values()) or 1.0
    scale = (_WIDTH - _NAME - _VALUE - 2 * _MARGIN) / most
    left = _MARGIN + _NAME
    parts = [f'<text x="{_MARGIN}" y="{top + 18}" font-size="14" font-weight="600">{escape(title)}</text>']
    for number, (name, figure) in enumerate(bars.items()):
        y = top + _TITLE + number * _BAR
        middle = y + _BAR // 2 - 2
        color = _OWN if name.startswith("Evanesce") else _PEER
        parts += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y}" width="{max(1.0, figure.median * scale):.1f}" height="{_BAR - 5}" '
            f'fill="{color}"/>',
            f'<line x1="{left + figure.least * scale:.1f}" x2="{left + figure.largest * scale:.1f}" y1="{middle}" '
            f'y2="{middle}" stroke="{_SPREAD}"/>',
            f'<text x="{left + figure.largest * scale + 6:.1f}" y="{y + 12}">{figure.median:{written}}</text>',
        ]
    return parts, _TITLE + len(bars) * _BAR
