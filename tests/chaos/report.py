"""The table with the results of one stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """The results of a stage: a title, columns and rows. `notes` are printed below the table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = [f"## {self.title}", "", _row(self.columns), _row(["---"] * len(self.columns))]
        lines += [_row(row) for row in self.rows]
        lines += [line for note in self.notes for line in ("", note)]
        return "\n".join(lines)


Stage = Callable[[bool], Table]
"""A function that measures a stage. If the argument is true, it makes a short run."""


def conclude(figures: Sequence[str], problems: Sequence[str]) -> int:
    """Print figures, and what was not as it has to be, on one line; return the exit code of a script."""
    print("; ".join([*figures, *problems]))
    return 1 if problems else 0


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
