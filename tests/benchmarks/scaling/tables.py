"""Rows of figures, as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def table(title: str, columns: Mapping[str, tuple[str, str]], rows: Sequence[Row]) -> str:
    """Write rows; `columns` says of each key what it is called and how its values are written."""
    lines = [f"### {title}", "", "| " + " | ".join(name for name, _ in columns.values()) + " |"]
    lines.append("| --- " * len(columns) + "|")
    for row in rows:
        lines.append("| " + " | ".join(format(row[key], written) for key, (_, written) in columns.items()) + " |")
    return "\n".join(lines)
