"""Finds, in what was raised, the error that says itself what to do."""

from __future__ import annotations

from typing import cast

from evanesce.errors import EvanesceError, Unavailable


def told(error: BaseException) -> EvanesceError | None:
    """Give `error`, or the first one of its kind that a nursery wrapped; None where nothing says what to do.

    What is told to people, that something is down, may have come from what is told to a deployer: then that.
    """
    if isinstance(error, Unavailable) and isinstance(error.__cause__, EvanesceError):
        return error.__cause__
    if isinstance(error, EvanesceError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(filter(None, map(told, group.exceptions)), None)
    return None
