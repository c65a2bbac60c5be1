"""A plugin with the database of `sqlite` that answers late whether a user is signed in: the answer is old by then."""

from __future__ import annotations

from functools import partial

import trio

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Repository, Settings, Setup
from evanesce.model import User
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite import SqliteSettings
from evanesce_plugins.sqlite.driver import connect

LATE_SECONDS = 1.0


class SlowRepository(SqlRepository):
    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        user = await super().user(user_id, sign_in_id)
        if sign_in_id is not None:
            await trio.sleep(LATE_SECONDS)
        return user


@hookimpl
def evanesce_settings() -> Settings:
    return SqliteSettings


@hookimpl
def evanesce_repository(setup: Setup) -> Repository:
    setting = f"plugins.{setup.name}.path"
    return SlowRepository(partial(connect, setup.folder / setup.settings.path, setting), setting)
