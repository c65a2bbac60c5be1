"""How often Python's collector of cyclic garbage runs in a server."""

from __future__ import annotations

import gc

YOUNG = 50_000
"""How many more objects there have to be before the youngest are looked through."""


def calm() -> None:
    """Set the collector for many connections. Call it when all is imported, before anybody comes.

    By default the youngest generation is looked through whenever 700 objects more are alive, and what is on its way
    between two of those counts as old: with 4,000 connections in 1,000 busy rooms more than half of the CPU went into
    looking through everything that lives, to find next to nothing, as almost all here is freed without it. What was
    imported stays for ever, and is looked through no more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
