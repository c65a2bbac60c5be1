"""What was erased or replaced is in no file of the database's folder once it was purged, whoever else reads there."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from evanesce.errors import PersistenceUnavailable
from evanesce.interfaces import Repository
from evanesce.model import User
from evanesce.testing.contracts.rows import a_user, at
from tests.patience import within
from tests.plugins.conftest import sqlite_repository, turso_repository

NAME, ADDRESS, SUBJECT = "Canary Name 7312", "canary-7312@example.org", "guest:canary-subject-7312"

OPENERS: dict[str, Callable[[Path], Repository]] = {
    "sqlite": sqlite_repository,
    "turso file": lambda folder: turso_repository("file:evanesce.db", folder=folder),
}


@pytest.fixture(params=OPENERS)
async def repository(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Repository]:
    async with OPENERS[request.param](tmp_path) as repository:
        yield repository


def found_in(folder: Path, *texts: str) -> list[str]:
    """Name the files that hold any of `texts`."""
    return [file.name for file in folder.iterdir() if any(text.encode() in file.read_bytes() for text in texts)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the database and its journal hold."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


async def canary(repository: Repository) -> User:
    """Store somebody who is easily found, among others whose rows share their pages."""
    for _ in range(20):
        await repository.sign_in(a_user())
    user = msgspec.structs.replace(a_user(SUBJECT, email=ADDRESS), display_name=NAME)
    await repository.sign_in(user)
    for _ in range(20):
        await repository.sign_in(a_user())
    return user


async def test_an_erased_account_is_in_no_file(repository: Repository, tmp_path: Path) -> None:
    user = await canary(repository)
    assert found_in(tmp_path, NAME, ADDRESS, SUBJECT)
    await repository.erase_user(user.user_id, at(1))
    await repository.purge()
    assert found_in(tmp_path, NAME, ADDRESS, SUBJECT) == []
    assert await repository.user(user.user_id) is None


async def test_a_name_and_an_address_that_were_replaced_are_in_no_file(repository: Repository, tmp_path: Path) -> None:
    user = await canary(repository)
    await repository.update_user(msgspec.structs.replace(user, display_name="Somebody", email=None))
    await repository.purge()
    assert found_in(tmp_path, NAME, ADDRESS) == []


async def test_while_others_read_it_is_told_and_may_be_tried_again(repository: Repository, tmp_path: Path) -> None:
    user = await canary(repository)
    with closing(sqlite3.connect(tmp_path / "evanesce.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute('SELECT count(*) FROM "User"').fetchall()
        await repository.erase_user(user.user_id, at(1))
        with within(2.5), pytest.raises(PersistenceUnavailable):
            await repository.purge()
        reader.execute("COMMIT")
    await repository.purge()
    assert found_in(tmp_path, NAME, ADDRESS, SUBJECT) == []


async def test_a_server_that_was_killed_after_an_erasure_purges_at_its_next_start(tmp_path: Path) -> None:
    async with sqlite_repository(tmp_path) as repository:
        user = await canary(repository)
        await repository.erase_user(user.user_id, at(1))
        left = contents(tmp_path)
    for name, data in left.items():
        (tmp_path / name).write_bytes(data)
    assert found_in(tmp_path, NAME)
    async with sqlite_repository(tmp_path):
        assert found_in(tmp_path, NAME, ADDRESS, SUBJECT) == []
