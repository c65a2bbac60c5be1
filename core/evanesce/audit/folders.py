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

    A file may stand in the place of a folder.
    `excluded` are files that are places of their own.
    """

    def __init__(
        self, canaries: Canaries, name: str, folders: Collection[Path], excluded: Collection[Path], since: float
    ) -> None:
        self._canaries = canaries
        self._folders = folders
        self._excluded = excluded
        self._since = since - EARLIER
        self.name = name

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        reading = FileReading(self._canaries, self._since)
        left = MOST_ENTRIES
        for folder in _different(self._folders, reading):
            for path, status in _files(folder, reading):
                left -= 1
                if left < 0:
                    reading.unseen.append(f"{folder}: it has more than {MOST_ENTRIES} entries")
                    break
                if _has_changed(status, self._since) and not any(_is(status, other) for other in self._excluded):
                    reading.read(path)
        return reading.result()


def temporary_folders(processes: Sequence[Process]) -> list[Path]:
    """Return the temporary folders of the processes, and those that all programs share."""
    own = [process.path(folder) for process in processes if (folder := process.environment("TMPDIR"))]
    return list(dict.fromkeys([*own, Path(tempfile.gettempdir()), Path("/var/tmp"), _SHARED_MEMORY]))


def _different(folders: Collection[Path], reading: FileReading) -> list[Path]:
    """Return each folder under one of its names. Those that are refused are told."""
    found: dict[tuple[int, int], Path] = {}
    for folder in folders:
        try:
            status = folder.stat()
        except FileNotFoundError:
            continue
        except OSError:
            reading.refused_folders += 1
        else:
            found.setdefault((status.st_dev, status.st_ino), folder)
    return list(found.values())


def _is(status: os.stat_result, other: Path) -> bool:
    try:
        return os.path.samestat(status, other.stat())
    except OSError:
        return False


def _has_changed(status: os.stat_result, since: float) -> bool:
    return stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) >= since


def _files(folder: Path, reading: FileReading) -> Iterator[tuple[Path, os.stat_result]]:
    """Return all entries below a folder, with their status. Links are not followed, and refused folders are told."""
    if folder.is_file():
        yield folder, folder.stat()
        return
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # removed meanwhile
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(Path(entry.path))
                    yield Path(entry.path), status
        except FileNotFoundError:
            continue
        except OSError:
            reading.refused_folders += 1
