"""Lookups in the database that are made together.

`Lookups` waits with the next keys while one query runs, and makes one query for all of them. `SharedLookups` makes one
query for all who ask for the same key meanwhile.

When a server restarts, all its clients come back within seconds, and each needs the database once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

PATIENCE_SECONDS = 0.25
"""How long keys wait for the query before theirs: one that hangs must not hold up others for as long as it may take."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Batch(Generic[Key, Value]):
    """Keys that are looked up together. With neither answers nor an error, the task that asked was cancelled."""

    def __init__(self) -> None:
        self.keys: dict[Key, None] = {}
        self.ended = trio.Event()
        self.answers: dict[Key, Value] | None = None
        self.error: Exception | None = None


class SharedLookups(Generic[Key, Value]):
    """Looks up keys by `find`, once for all who ask for a key meanwhile.

    So an answer may be as old as the query that runs when `get` is called. That nothing was found is shared only by
    those who asked before the query began: for the others it may exist by then. They share the next query, and so do
    those whose query was cancelled with the task that ran it.
    """

    def __init__(self, find: Callable[[Key], Awaitable[Value | None]]) -> None:
        self._find = find
        self._running: dict[Key, _Query[Value]] = {}

    async def get(self, key: Key) -> Value | None:
        """Return the value of a key; None where there is none. Raises what `find` raises."""
        began_before = True
        while (query := self._running.get(key)) is not None:
            await query.ended.wait()
            if query.error is not None:
                raise query.error.with_traceback(None)
            if query.answer is not None or (query.found_nothing and not began_before):
                return query.answer
            began_before = False
        query = self._running[key] = _Query()
        try:
            query.answer = await self._find(key)
            query.found_nothing = query.answer is None
            return query.answer
        except Exception as error:  # raised in all tasks that asked
            query.error = error
            raise
        finally:
            del self._running[key]
            query.ended.set()


class _Query(Generic[Value]):
    """A lookup of one key. With no answer, no error, and not `found_nothing`, its task was cancelled."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.answer: Value | None = None
        self.found_nothing = False
        self.error: Exception | None = None


class Lookups(Generic[Key, Value]):
    """Looks up keys by `ask`, which returns the value of each key, for at most `most` keys at once.

    A query for a key starts after the key is passed to `get`, so that its answer is never older.
    """

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Sequence[Value]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._next: _Batch[Key, Value] | None = None  # waits for its query
        self._running: _Batch[Key, Value] | None = None

    async def get(self, key: Key) -> Value:
        """Return the value of a key. Raises what `ask` raises."""
        while True:
            batch = self._next
            if batch is not None and len(batch.keys) < self._most:
                batch.keys[key] = None
                await batch.ended.wait()
            else:
                batch = self._next = _Batch()
                batch.keys[key] = None
                await self._query(batch)
            if batch.error is not None:
                raise batch.error.with_traceback(None)
            if batch.answers is not None:
                return batch.answers[key]

    async def _query(self, batch: _Batch[Key, Value]) -> None:
        """Wait for the query before, and ask for all keys of a batch, in the task of its first key."""
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                while self._running is not None:
                    await self._running.ended.wait()
            self._running = batch
            if self._next is batch:
                self._next = None
            keys = list(batch.keys)
            batch.answers = dict(zip(keys, await self._ask(keys), strict=True))
        except Exception as error:  # raised in the tasks of all keys
            batch.error = error
        finally:
            if self._next is batch:
                self._next = None
            if self._running is batch:
                self._running = None
            batch.ended.set()
