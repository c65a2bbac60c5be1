"""The forms in which one number is written: World's texts differ in leading zeros and in case."""

from __future__ import annotations

import itertools
import re

_WRITTEN = re.compile(r"0x[0-9a-fA-F]{1,64}|[0-9]{1,78}")


class Forms:
    """Writes each number in another form than the one before it, so that nobody gets used to one."""

    def __init__(self) -> None:
        self._forms = itertools.cycle(("0x{:064x}", "0x{:x}", "0x{:064X}"))

    def write(self, number: int) -> str:
        """Give `number` as `0x` and up to 64 digits."""
        return next(self._forms).format(number)


def read(text: str) -> int:
    """Read a number as World's portal does: hexadecimal after `0x`, decimal without it. Raises `ValueError`."""
    if not _WRITTEN.fullmatch(text):
        raise ValueError(f"this is no number: {text[:80]!r}")
    return int(text, 16 if text.startswith("0x") else 10)
