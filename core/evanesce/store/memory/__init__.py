"""The message store in the memory of a process, for tests: the same interfaces, deterministic, also in virtual time."""

from __future__ import annotations

from evanesce.store.memory.server import MemoryServer
from evanesce.store.memory.store import MemoryStore, memory_store

__all__ = ["MemoryServer", "MemoryStore", "memory_store"]
