"""Warnings about settings that may be wrong because clients are refused: one for each value, and few in a minute."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from evanesce.limits.token_bucket import TokenBucket

AT_ONCE = 20
"""How many hints may be logged at once. Then there is one in a minute, because clients can send any values."""

MOST_VALUES = 1_000
"""How many values are remembered."""

MOST_CHARACTERS = 200
"""The longest part of a value that is logged."""


class Hints:
    """Log each hint to `log` at most once. `clock` returns seconds of a monotonic clock."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._limit = TokenBucket(1 / 60, AT_ONCE, clock)
        self._logged: OrderedDict[str, None] = OrderedDict()

    def give(self, value: str, text: str) -> None:
        """Log `text` with `value` in place of `%s`, unless `value` was logged before or the rate is exceeded."""
        value = value[:MOST_CHARACTERS]
        if value in self._logged:
            self._logged.move_to_end(value)
        elif not self._limit.take(None):
            self._log.warning(text, value)
            self._logged[value] = None
            if len(self._logged) > MOST_VALUES:
                self._logged.popitem(last=False)
