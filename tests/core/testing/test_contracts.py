"""The parts in memory of the testing kit hold the contracts themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from evanesce.interfaces import Authenticator, Repository
from evanesce.testing import MemoryRepository
from evanesce.testing.contracts import AuthenticatorContract, RepositoryContract
from evanesce.testing.server import NameAuthenticator


class TestMemory(RepositoryContract):
    @pytest.fixture(autouse=True)
    def database(self) -> None:
        self.repository_in_memory = MemoryRepository()

    async def make_repository(self, folder: Path) -> Repository:
        return self.repository_in_memory


class TestNames(AuthenticatorContract):
    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        return NameAuthenticator()

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": person}
