"""Who asks an authenticator, for tests of an authenticator alone."""

from __future__ import annotations

from evanesce.interfaces import Caller, Repository
from evanesce.model import User
from evanesce.sessions.providers import ProviderAccounts
from evanesce.testing.memory_repository import MemoryRepository


def caller(provider: str, user: User | None = None, *, repository: Repository | None = None) -> Caller:
    """Make somebody who asks `provider`; its accounts are those of `repository`, or none."""
    return Caller(user, "127.0.0.1", ProviderAccounts(provider, repository or MemoryRepository()))
