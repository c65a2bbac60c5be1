"""Core files, which hold the memory of a process that crashed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evanesce.audit.canaries import Canaries
from evanesce.audit.places import CouldNotLook, Look, Phase
from evanesce.audit.processes import Process
from evanesce.audit.reading import EARLIER, FileReading

_TYPE = slice(16, 18)  # e_type of an ELF header
_ET_CORE = (b"\x04\x00", b"\x00\x04")


class CoreFiles:
    """A place: core files, where the kernel writes those of the processes."""

    name = "core files"

    def __init__(
        self,
        canaries: Canaries,
        processes: Sequence[Process],
        since: float,
        pattern: Path = Path("/proc/sys/kernel/core_pattern"),
    ) -> None:
        self._canaries = canaries
        self._processes = processes
        self._since = since - EARLIER
        self._pattern = pattern

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        try:
            pattern = self._pattern.read_text("utf-8", "replace").strip()
        except OSError:
            raise CouldNotLook("it is not known where this system writes core files") from None
        reading = FileReading(self._canaries, self._since)
        folders = [folder for process in self._processes if (folder := process.working_folder()) is not None]
        if pattern.startswith("|"):
            program = pattern[1:].split()[0]
            reading.unseen.append(
                f"core files are passed to {program}; the servers and the embedded Valkey write none, see"
                " kernel.core_pattern for what that program keeps of other processes"
            )
        elif os.path.dirname(pattern):
            below = os.path.dirname(pattern)
            if os.path.isabs(below):
                folders = [process.path(below) for process in self._processes] or [Path(below)]
            else:
                folders = [folder / below for folder in folders]
        for folder in dict.fromkeys(folders):
            for path in _entries(folder, reading):
                if _is_core(path, reading):
                    reading.read(path)
        return reading.result()


def _entries(folder: Path, reading: FileReading) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError:
        reading.refused_folders += 1
        return []


def _is_core(path: Path, reading: FileReading) -> bool:
    """Return whether a file is a core file in the format ELF. One that cannot be read may be one, and is told."""
    try:
        with open(path, "rb") as file:
            head = file.read(18)
    except FileNotFoundError:
        return False
    except OSError:
        reading.refused += 1
        return False
    return head.startswith(b"\x7fELF") and head[_TYPE] in _ET_CORE
