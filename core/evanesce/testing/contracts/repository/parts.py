"""What the tests of a repository begin with: an opened repository, two on one database, people and rooms."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from evanesce.interfaces import Repository
from evanesce.model import ChatRoom, RoomActivity, SessionStarted, User
from evanesce.testing.contracts.base import Contract
from evanesce.testing.contracts.rows import a_room, a_session, a_user

ROUNDS = 12
"""How often each race is run."""


class RepositoryParts(Contract):
    """The repository under test."""

    documented = "reference/python-api/interfaces.md#repository"

    async def make_repository(self, folder: Path) -> Repository:
        """Return the repository under test, which is not open. Override this.

        `folder` is empty at the first call in a test. Where it is called again, it has to return another repository on
        the same database, as another server would have.
        """
        raise NotImplementedError("override make_repository")

    @asynccontextmanager
    async def open_repository(self, folder: Path) -> AsyncGenerator[Repository]:
        """Open the repository on an empty database."""
        made = await self.make_repository(folder)
        async with made:
            yield made

    @asynccontextmanager
    async def open_pair(self, folder: Path) -> AsyncGenerator[tuple[Repository, Repository]]:
        """Open two servers' repositories on one empty database."""
        async with self.open_repository(folder) as one, self.open_repository(folder) as two:
            yield one, two

    @pytest.fixture
    async def repository(self, contract: Contract, tmp_path: Path) -> AsyncIterator[Repository]:
        """Return the repository of `open_repository`."""
        async with cast(RepositoryParts, contract).open_repository(tmp_path) as opened:
            yield opened

    @pytest.fixture
    async def pair(self, contract: Contract, tmp_path: Path) -> AsyncIterator[tuple[Repository, Repository]]:
        """Return the repositories of `open_pair`."""
        async with cast(RepositoryParts, contract).open_pair(tmp_path) as pair:
            yield pair


async def signed_in(repository: Repository, world_id: str | None = None) -> User:
    """Return a user who has just signed in for the first time."""
    user, _ = await repository.sign_in(a_user(world_id))
    return user


async def opened(repository: Repository, creator: User | None = None) -> ChatRoom:
    """Return a room that was just created, by somebody new if no creator is given."""
    room = a_room(creator or await signed_in(repository))
    if not await repository.create_room(room, 1000):
        raise AssertionError("a room of a user who has few is created")
    return room


async def version(repository: Repository, room: ChatRoom) -> int:
    """Return the version of the rules of a room."""
    found = await repository.room(room.room_id)
    assert found is not None
    return found.rules_version


async def a_busy_room(repository: Repository, *servers: str) -> tuple[ChatRoom, list[SessionStarted]]:
    """Return a room that somebody is in on each of `servers`."""
    user = await signed_in(repository)
    room = await opened(repository, user)
    sessions = [a_session(user, room, server=server) for server in servers]
    await repository.record([*sessions, RoomActivity(room_id=room.room_id, active=True)])
    return room, sessions
