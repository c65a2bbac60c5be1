"""The table with the results of one stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.withstand.checks import NOT_RUN


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


@dataclass
class Judgement:
    """What was not as it has to be, and what may be the fault of other work on the machine: of that nothing is said."""

    problems: list[str] = field(default_factory=list[str])
    doubts: list[str] = field(default_factory=list[str])

    def bound(self, what: str, seconds: float, most: float, late: float) -> None:
        """Compare a time with its bound. `late` is how much of it the machine may have taken, in seconds."""
        if seconds - late > most:
            self.problems.append(f"{what}: {seconds:.1f} s")
        elif seconds > most:
            self.doubts.append(f"{what}: {seconds:.1f} s, while other work took up to {late:.1f} s")

    def add(self, other: Judgement) -> None:
        """Add what another judgement has found."""
        self.problems += other.problems
        self.doubts += other.doubts


def conclude(figures: Sequence[str], judgement: Judgement) -> int:
    """Print the figures and the judgement on one line, and return the exit code of a script."""
    print("; ".join([*figures, *judgement.problems, *judgement.doubts]))
    return 1 if judgement.problems else NOT_RUN if judgement.doubts else 0


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
