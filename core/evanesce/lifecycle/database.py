"""Before the database is opened: check its schema version, log the migrations, and lock its file."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from evanesce.errors import ConfigurationError
from evanesce.interfaces import Inspection, Repository

logger = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"
"""What is added to the name of a database file for the name of its lock file."""


async def inspect(repository: Repository, *, migrate: bool) -> Inspection:
    """Inspect the database without writing to it.

    Raises `ConfigurationError` where it has to be created or migrated and `migrate` is false, and what
    `Repository.inspect` raises.
    """
    inspection = await repository.inspect()
    found, newest = inspection.found, inspection.newest
    if found != newest and not migrate:
        state = f"the database has schema version {found}" if found else "there is no database yet"
        raise ConfigurationError(
            "serve --no-migrate",
            f"{state}, and this version of Evanesce needs schema version {newest}",
            "Run evanesce db to migrate it, or serve without --no-migrate",
        )
    return inspection


async def announce_migrations(repository: Repository, *, migrate: bool) -> Inspection:
    """Inspect the database, and log whether opening it will create or migrate it. Raises as `inspect` does."""
    inspection = await inspect(repository, migrate=migrate)
    found, newest = inspection.found, inspection.newest
    if found == newest:
        return inspection
    if found:
        steps = "; ".join(inspection.steps)
        logger.info("migrating the database from schema version %d to %d: %s", found, newest, steps)
    else:
        logger.info("creating a new database with schema version %d: %s", newest, inspection.text)
    return inspection


@contextmanager
def locked(database: Path) -> Generator[None]:
    """Lock a database file against other servers with an embedded Valkey while the context lasts.

    The lock is on a file beside it. The system releases it when this process ends, even by a crash. Raises
    `ConfigurationError` where another process holds the lock.
    """
    path = database.with_name(database.name + LOCK_SUFFIX)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "Make the folder writable, or set redis.url to a Redis server"
        raise ConfigurationError("redis.url", f"{path} cannot be created ({error.strerror})", hint) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "redis.url",
                f"another server with an embedded Valkey uses the database {database}",
                "Stop that server, or set redis.url of both to the same Redis server",
            ) from None
        except OSError as error:  # a file system without locks
            logger.warning(
                "%s cannot be locked (%s): do not start a second server on this database", path, error.strerror
            )
        yield
    finally:
        os.close(lock)
