"""The caller of an authenticator, for tests of an authenticator alone."""

from __future__ import annotations

from evanesce.accounts.sign_in import ProviderAccounts
from evanesce.interfaces import Caller, Repository
from evanesce.model import User
from evanesce.testing.memory_repository import MemoryRepository


def caller(provider: str, user: User | None = None, *, repository: Repository | None = None) -> Caller:
    """Return a caller of `provider`. Its accounts are those of `repository`, or none."""
    return Caller(user, "127.0.0.1", ProviderAccounts(provider, repository or MemoryRepository()), local=True)
