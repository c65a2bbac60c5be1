"""The collector of cyclic garbage: seldom, and never over what was imported."""

from __future__ import annotations

import gc

from evanesce.collector import YOUNG, calm


def test_it_is_calmed_and_still_collects() -> None:
    before = gc.get_threshold()
    try:
        calm()
        assert gc.get_threshold()[0] == YOUNG
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
