"""The contracts of plugins as classes of tests, for authors of plugins to derive from. They need pytest-trio."""

from __future__ import annotations

from evanesce.testing.contracts.authenticator import (
    PEOPLE,
    AuthenticatorContract,
    ChallengeContract,
    OutsideProviderContract,
)
from evanesce.testing.contracts.repository import RepositoryContract, RoomRulesContract
from evanesce.testing.contracts.transport import TransportClient, TransportContract

__all__ = [
    "PEOPLE",
    "AuthenticatorContract",
    "ChallengeContract",
    "OutsideProviderContract",
    "RepositoryContract",
    "RoomRulesContract",
    "TransportClient",
    "TransportContract",
]
