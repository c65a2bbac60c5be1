"""Searching files for canaries: only regular files that have changed since the audit began, and not without end."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.places import Look, leaks

MOST_BYTES = 4 << 30
"""How much is read of files, for one look at one place."""

EARLIER = 5.0
"""A file that has not changed since so many seconds before the audit began is not read: it can hold no canary."""


@dataclass
class FileReading:
    """One look at files: what was found, and what could not be read."""

    canaries: Canaries
    since: float
    found: list[tuple[Path, Counter[Kind]]] = field(default_factory=list[tuple[Path, "Counter[Kind]"]])
    unseen: list[str] = field(default_factory=list[str])
    refused: int = 0
    refused_folders: int = 0
    files: int = 0
    size: int = 0

    def read(self, path: Path, shown: Path | None = None) -> None:
        """Search a regular file that has changed since the audit began. Others are left out."""
        try:
            # Not blocking: what was a file may be a pipe by now.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError:
            self.refused += 1
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or max(status.st_mtime, status.st_ctime) < self.since:
                return
            if self.size + status.st_size > MOST_BYTES:
                self.unseen.append(f"{shown or path}: there is more than {MOST_BYTES >> 30} GiB to read")
                return
            self.files += 1
            self.size += status.st_size
            left = status.st_size  # a file that grows as it is read is read at the next look

            def piece(most: int) -> bytes:
                nonlocal left
                data = file.read(min(most, left)) or b""
                left -= len(data)
                return data

            try:
                found = self.canaries.search_stream(piece)
            except OSError as error:
                self.unseen.append(f"{shown or path}: {error.strerror}")
                return
            if found:
                self.found.append((shown or path, found))

    def result(self) -> Look:
        """Return what was read, where no canary may be."""
        for count, what in ((self.refused, "files"), (self.refused_folders, "folders")):
            if count:
                self.unseen.append(f"{count} {what} that this user may not read")
        findings = [one for path, found in self.found for one in leaks(found, self.canaries.masked(str(path)))]
        return Look(findings, self.unseen, f"{self.files} changed files, {self.size / 1e6:.1f} MB")
