"""The files that a process has open, and its log."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from evanesce.audit.canaries import Canaries
from evanesce.audit.places import CouldNotLook, Look, Phase
from evanesce.audit.processes import Process
from evanesce.audit.reading import EARLIER, FileReading


class OpenFiles:
    """A place: the files that a process has open, also those that were deleted."""

    def __init__(self, canaries: Canaries, process: Process, excluded: Collection[Path], since: float) -> None:
        self._canaries = canaries
        self._process = process
        self._excluded = {os.path.realpath(path) for path in excluded}
        self._since = since - EARLIER
        self.name = f"open files of {process.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        reading = FileReading(self._canaries, self._since)
        try:
            for number, target in self._process.descriptors():
                if target.startswith("/") and target not in self._excluded:
                    path = self._process.folder / "fd" / str(number)
                    if path.is_file():
                        reading.read(path, Path(target))
        except FileNotFoundError:
            raise CouldNotLook("the process has ended") from None
        except OSError as error:
            raise CouldNotLook(f"this user may not see them ({error.strerror})") from None
        return reading.result()


class Logs:
    """A place: the log of a process, which is its standard output and its standard error, where these are files.

    The server reads the output of its embedded Valkey and drops it: `servers` are those that may do so.
    """

    def __init__(self, canaries: Canaries, process: Process, servers: Sequence[Process], since: float) -> None:
        self._servers = [one for one in servers if process.role == "Redis" and one.role != "Redis"]
        self._canaries = canaries
        self._process = process
        self._since = since - EARLIER
        self.name = f"log of {process.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        reading = FileReading(self._canaries, self._since)
        read: set[str] = set()
        for number, stream in ((1, "standard output"), (2, "standard error")):
            path = self._process.folder / "fd" / str(number)
            try:
                target, is_file = os.readlink(path), path.is_file()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CouldNotLook(f"this user may not see it ({error.strerror})") from None
            if target in read or target == os.devnull:
                continue
            read.add(target)
            if any(_has_open(server, target) for server in self._servers):
                continue
            if is_file:
                reading.read(path, Path(target))
            else:
                reading.unseen.append(
                    f"{stream} is {_described(target)}. Search what receives it, or start the server with"
                    " a file in its place for the audit"
                )
        if reading.unseen and not reading.files and len(reading.unseen) == len(read):
            raise CouldNotLook("; ".join(reading.unseen))
        return reading.result()


def _has_open(process: Process, target: str) -> bool:
    """Return whether a pipe leads to a process."""
    try:
        return target.startswith("pipe:") and any(target == other for _, other in process.descriptors())
    except OSError:
        return False


def log_files(processes: Sequence[Process]) -> list[Path]:
    """Return the files to which the processes write their standard output and their standard error."""
    found: list[Path] = []
    for process in processes:
        for number in (1, 2):
            try:
                target = os.readlink(process.folder / "fd" / str(number))
            except OSError:
                continue
            if os.path.isfile(target):
                found.append(Path(target))
    return list(dict.fromkeys(found))


def _described(target: str) -> str:
    if target.startswith("pipe:"):
        return "a pipe"
    if target.startswith("socket:"):
        return "a socket, such as that of the journal"
    return "a terminal" if target.startswith(("/dev/pts", "/dev/tty")) else "no file"
