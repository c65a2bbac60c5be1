"""The caller of an authenticator, for tests of an authenticator alone."""

from __future__ import annotations

from evanesce.accounts.sign_in import ProviderAccounts
from evanesce.interfaces import Caller, Repository
from evanesce.model import User, timestamp
from evanesce.testing.memory_repository import MemoryRepository


def caller(provider: str, user: User | None = None, *, repository: Repository | None = None) -> Caller:
    """Return a caller of `provider`. Its accounts are those of `repository`, or none."""
    kept = repository or MemoryRepository()

    async def end(sign_in_id: str) -> None:
        await kept.revoke_sign_in(sign_in_id, timestamp(0))

    return Caller(user, "127.0.0.1", ProviderAccounts(provider, kept, end, lambda: None), local=True)
