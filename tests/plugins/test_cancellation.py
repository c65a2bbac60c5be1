"""The contract of repositories cancels every method that there is."""

from __future__ import annotations

from inspect import iscoroutinefunction

from evanesce.interfaces import Repository
from evanesce.testing.contracts.repository.cancellation import Operations
from evanesce.testing.memory_repository import MemoryRepository

BEFORE_IT_IS_OPEN = {"inspect"}
"""Methods that are not called while a repository is open."""


def test_every_method_of_a_repository_is_cancelled() -> None:
    members = vars(Repository).items()
    public = {name for name, member in members if not name.startswith("_") and iscoroutinefunction(member)}
    assert set(Operations(MemoryRepository()).all()) == public - BEFORE_IT_IS_OPEN
