"""The contracts of plugins as classes of tests, for authors of plugins to derive from. They need pytest-trio."""

from __future__ import annotations

from evanesce.testing.contracts.authenticator import (
    PEOPLE,
    AuthenticatorContract,
    ChallengeContract,
    OutsideProviderContract,
)
from evanesce.testing.contracts.repository import RepositoryContract, RoomRulesContract

__all__ = [
    "PEOPLE",
    "AuthenticatorContract",
    "ChallengeContract",
    "OutsideProviderContract",
    "RepositoryContract",
    "RoomRulesContract",
]
