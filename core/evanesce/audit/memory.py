"""The memory of a process, read through /proc/PID/mem. Copies are counted: nobody can promise to wipe freed memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict
from evanesce.audit.processes import Process

MOST_BYTES = 8 << 30
"""How much memory of one process is read at most."""

_SPECIAL = ("[vvar", "[vsyscall", "[vdso")  # of the kernel, and not readable


class ProcessMemory:
    """A place: the memory of a process that this user may read.

    `unreadable`: it is a Redis that never gets content in a form that can be read.
    """

    def __init__(self, canaries: Canaries, process: Process, *, unreadable: bool = False) -> None:
        self._canaries = canaries
        self._unreadable = unreadable
        self._process = process
        self.name = f"memory of {process.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        found: Counter[Kind] = Counter()
        total = 0
        complete = True
        try:
            maps = list(_mappings(self._process))
            with open(self._process.folder / "mem", "rb", buffering=0) as memory:
                for start, end in maps:
                    if total + end - start > MOST_BYTES:
                        complete = False
                        continue
                    total += end - start
                    found += self._canaries.search_stream(_Reader(memory.fileno(), start, end).read)
        except (FileNotFoundError, ProcessLookupError):
            raise CouldNotLook("the process has ended") from None
        except OSError as error:
            raise CouldNotLook(
                f"this user may not read it ({error.strerror}). Run the audit as the user of that process, or as root,"
                " and see the setting kernel.yama.ptrace_scope"
            ) from None
        return Look(
            [Finding(str(kind), "in its memory", count, self._verdict(kind, phase)) for kind, count in found.items()],
            () if complete else (f"mappings beyond {MOST_BYTES >> 30} GiB",),
            f"{total / 1e6:.0f} MB",
        )

    def _verdict(self, kind: Kind, phase: Phase) -> Verdict:
        """Return whether something may be in memory because it is still in use."""
        if self._unreadable and not kind.belongs_to_account:
            return Verdict.LEAK
        if kind.belongs_to_account:
            return Verdict.COUNTED if phase is Phase.FORGOTTEN else Verdict.EXPECTED
        return Verdict.EXPECTED if kind is Kind.SENT and phase is Phase.BEFORE else Verdict.COUNTED


class _Reader:
    """Reads a mapping piece by piece. What cannot be read, such as a page of a device, is left out."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor = descriptor
        self._place = start
        self._end = end

    def read(self, most: int) -> bytes:
        while self._place < self._end:
            count = min(most, self._end - self._place)
            try:
                data = os.pread(self._descriptor, count, self._place)
            except OSError:  # unmapped meanwhile, or not readable
                data = b""
            self._place += len(data) or count
            if data:
                return data
        return b""


def _mappings(process: Process) -> Iterator[tuple[int, int]]:
    """Return the mappings that may hold data: those that can be read, but for code."""
    with open(process.folder / "maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.split(maxsplit=5)
            rights, name = fields[1], fields[5].strip() if len(fields) > 5 else ""
            if rights[0] != "r" or "x" in rights or name.startswith(_SPECIAL):
                continue
            start, _, end = fields[0].partition("-")
            yield int(start, 16), int(end, 16)
