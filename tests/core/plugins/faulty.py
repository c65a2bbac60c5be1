"""Whatever a plugin's code may do wrong: each fault is an async function that is given what must not be in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio

from evanesce.errors import Rejected
from evanesce.logs.formatting import line_formatter

SECRET = "S3CR3T-content"

BLOCKED_SECONDS = 0.3


class OddError(BaseException):
    """Derived from what nobody should derive from."""


class Worse(Exception):
    """Cannot even be looked at."""

    def __str__(self) -> str:
        raise SystemExit(SECRET)


class Deceptive(Exception):
    """Does not even say of what class it is."""

    @property
    def __class__(self) -> Any:
        raise SystemExit(SECRET)


class DeceptiveRejected(Rejected):
    """An error that plugins may raise, of which an attribute cannot be read."""

    @property
    def message(self) -> str:
        raise SystemExit(SECRET)

    @message.setter
    def message(self, text: str) -> None:
        pass


async def raises(secret: str) -> None:
    raise ValueError(secret)


async def raises_an_error_of_the_system(secret: str) -> None:
    raise OSError(5, secret)


async def raises_worse(secret: str) -> None:
    raise Worse(secret)


async def raises_what_denies_its_class(secret: str) -> None:
    raise Deceptive(secret)


async def raises_a_refusal_that_raises(secret: str) -> None:
    raise DeceptiveRejected(secret)


async def exits(secret: str) -> None:
    raise SystemExit(secret)


async def interrupts(secret: str) -> None:
    raise KeyboardInterrupt(secret)


async def raises_what_is_odd(secret: str) -> None:
    raise OddError(secret)


async def raises_generator_exit(secret: str) -> None:
    raise GeneratorExit(secret)


async def raises_a_group(secret: str) -> None:
    raise ExceptionGroup(secret, [ValueError(secret), TypeError(secret)])


async def raises_a_mixed_group(secret: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exits, secret)
        nursery.start_soon(raises, secret)
        nursery.start_soon(interrupts, secret)


async def leaks_a_cancellation(secret: str) -> None:
    kept: trio.Cancelled | None = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept = cancelled
    assert kept is not None
    raise kept


async def leaves_a_scope_open(secret: str) -> None:
    trio.CancelScope().__enter__()
    await trio.lowlevel.checkpoint()


async def hangs(secret: str) -> None:
    await trio.sleep_forever()


class ShieldedHang:
    """Hangs, and cannot be cancelled, while `with` lasts."""

    __name__ = "hangs_shielded"

    def __init__(self) -> None:
        self.gate = trio.Event()

    async def __call__(self, secret: str) -> None:
        with trio.CancelScope(shield=True):
            await self.gate.wait()

    def __enter__(self) -> ShieldedHang:
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()


async def blocks(secret: str) -> None:
    time.sleep(BLOCKED_SECONDS)  # noqa: ASYNC251  # the point of it


Fault = Callable[[str], Awaitable[object]]

RAISING: list[Fault] = [
    raises,
    raises_an_error_of_the_system,
    raises_worse,
    raises_what_denies_its_class,
    exits,
    interrupts,
    raises_what_is_odd,
    raises_generator_exit,
    raises_a_group,
    raises_a_mixed_group,
    leaks_a_cancellation,
]
"""Those that raise at once."""


def written(records: Iterable[logging.LogRecord]) -> str:
    """Write records as the server's log has them."""
    return "\n".join(map(line_formatter("text", "full", {}).format, records))
