"""The files of the database."""

from __future__ import annotations

import os
from pathlib import Path

from evanesce.audit.canaries import Canaries
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict
from evanesce.audit.reading import FileReading

COMPANIONS = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to the name of a database for its files: https://www.sqlite.org/tempfiles.html."""


class DatabaseFile:
    """A place: the database and its journals. Names and mail addresses may be there until the accounts are erased."""

    name = "database"

    def __init__(self, canaries: Canaries, path: Path) -> None:
        self._canaries = canaries
        self._path = path

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        forgotten = phase is Phase.FORGOTTEN
        reading = FileReading(self._canaries, 0.0)
        real = Path(os.path.realpath(self._path))
        for suffix in COMPANIONS:
            reading.read(real.with_name(real.name + suffix))
        if not reading.files:
            raise CouldNotLook(f"{real} cannot be read. Run the audit as the user of the server, in its working folder")
        findings = [
            Finding(
                str(kind),
                str(path),
                count,
                Verdict.EXPECTED if kind.belongs_to_account and not forgotten else Verdict.LEAK,
            )
            for path, found in reading.found
            for kind, count in found.items()
        ]
        return Look(findings, reading.result().unseen, f"{reading.files} files, {reading.size / 1e6:.1f} MB")
