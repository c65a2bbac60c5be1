"""Looks for bytes in the memory of another process, as someone who has stolen it would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def copies(pid: int, needles: Sequence[bytes]) -> list[int]:
    """Count the copies of each of `needles` in all memory of a process that can be written."""
    found = [0] * len(needles)
    pattern = re.compile(b"|".join(map(re.escape, needles)))
    places = {needle: place for place, needle in enumerate(needles)}
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if "w" not in rights or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except (OSError, ValueError):  # it was given back meanwhile
                continue
            for match in pattern.finditer(data):
                found[places[match.group()]] += 1
    return found
