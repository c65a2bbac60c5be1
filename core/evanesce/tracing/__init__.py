"""Traces of OpenTelemetry, where the extra `traces` is installed and `[traces]` is configured.

Where they are off, `active` is None, and a part that would make a span does nothing but see that. Nothing here imports
OpenTelemetry until they are on.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

_OFF = nullcontext()

if TYPE_CHECKING:
    from evanesce.tracing.spans import Tracer

active: Tracer | None = None
"""What makes the spans of this process; None where traces are off. The start of a server sets it."""


def taken_over(name: str, keys: Sequence[Hashable], *, ends: bool) -> AbstractContextManager[None]:
    """Make a span of work that other tasks have handed over, see `Tracer.taken_over`; nothing where traces are off."""
    return _OFF if active is None else active.taken_over(name, keys, ends=ends)
