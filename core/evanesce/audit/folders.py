"""The files of folders, such as working and temporary ones, with all folders below them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from evanesce.audit.canaries import Canaries
from evanesce.audit.places import Look, Phase
from evanesce.audit.processes import Process
from evanesce.audit.reading import EARLIER, FileReading

MOST_ENTRIES = 200_000
"""How many entries of folders are looked at, for one look at one place."""

_SHARED_MEMORY = Path("/dev/shm")


class Folders:
    """A place: the files of folders, and of those below them, that have changed since the audit began.

    `excluded` are files that are places of their own.
    """

    def __init__(
        self, canaries: Canaries, name: str, folders: Collection[Path], excluded: Collection[Path], since: float
    ) -> None:
        self._canaries = canaries
        self._folders = folders
        self._excluded = {os.path.realpath(path) for path in excluded}
        self._since = since - EARLIER
        self.name = name

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        reading = FileReading(self._canaries, self._since)
        left = MOST_ENTRIES
        for folder in dict.fromkeys(map(os.path.realpath, self._folders)):
            for path in _changed(folder, self._since):
                left -= 1
                if left < 0:
                    reading.unseen.append(f"{folder}: it has more than {MOST_ENTRIES} entries")
                    break
                if path is not None and str(path) not in self._excluded:
                    reading.read(path)
        return reading.result()


def temporary_folders(processes: Sequence[Process]) -> list[Path]:
    """Return the temporary folders of the processes, and those that all programs share."""
    own = [Path(folder) for process in processes if (folder := process.environment("TMPDIR"))]
    return list(dict.fromkeys([*own, Path(tempfile.gettempdir()), Path("/var/tmp"), _SHARED_MEMORY]))


def _changed(folder: str, since: float) -> Iterator[Path | None]:
    """Return the files below a folder that have changed, and None for each other entry. Links are not followed."""
    waiting = [folder]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:  # removed meanwhile, or another user's
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        yield None
                        continue
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                changed = stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) >= since
                yield Path(entry.path) if changed else None
