"""What the repository asks of a database: to do a batch of statements, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

PATIENCE = 2.5
"""How long somebody waits for an answer, in seconds."""

Value = str | int | float | bytes | None
"""What a column holds."""

Row = Sequence[Value]
"""A row of an answer."""


class Statement(NamedTuple):
    """One statement of SQL, with a value for each `?` in it."""

    sql: str
    values: tuple[Value, ...] = ()


class Refused(Exception):
    """A constraint of the schema refused the batch: nothing of it was done. The message names the constraint."""


class Driver(Protocol):
    """A database that is open. Foreign keys are enforced."""

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """Do `statements` in order, all or nothing; give the rows of each. They may be done twice in a row.

        Answers within `PATIENCE`, or, where it is `patient` as nobody waits, within a time-out of the driver's own.
        Raises `Refused`, or `PersistenceUnavailable` where the database does not answer: the batch may then have been
        done or not, as a whole, or be done later. A cancelled one too. Behind that error (`__cause__`) may stand one
        that says to a deployer what to do.
        """
        ...

    async def describe(self) -> str:
        """Say in a few words which database this is and how it is. Raises `PersistenceUnavailable`."""
        ...
