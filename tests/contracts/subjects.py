"""The contracts, each on a copy of a plugin or transport that comes with Evanesce."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from evanesce.interfaces import Authenticator, Repository, Setup, Transport
from evanesce.testing.contracts import (
    AuthenticatorContract,
    RepositoryContract,
    TransportClient,
    TransportContract,
)
from evanesce.testing.contracts.transport.parts import FRAME_BYTES
from evanesce.testing.gateway import ScriptedGateway
from tests.contracts.copies import Copy
from tests.plugins.worldid.contract import WorldIdSignUps
from tests.transports.websocket_client import connected


def setup(name: str, options: Any, folder: Path, outbox_bytes: int = 1_048_576) -> Setup:
    return Setup(
        name=name,
        settings=options,
        folder=folder,
        public_url="http://127.0.0.1:8000",
        origins=(),
        frame_bytes=FRAME_BYTES,
        outbox_bytes=outbox_bytes,
    )


class Sqlite(RepositoryContract):
    def __init__(self, copy: Copy) -> None:
        self.plugin = copy.module("sqlite")

    async def make_repository(self, folder: Path) -> Repository:
        made: Repository = self.plugin.evanesce_repository(setup("sqlite", self.plugin.SqliteSettings(), folder))
        return made


class WebSocket(TransportContract):
    def __init__(self, copy: Copy) -> None:
        self.plugin = copy.module("trio_websocket")

    async def make_transport(self, folder: Path, outbox_bytes: int) -> Transport:
        options = self.plugin.evanesce_settings()(bind="127.0.0.1:0")
        made: Transport = self.plugin.evanesce_transport(setup("trio_websocket", options, folder, outbox_bytes))
        return made

    def connect(self, url: str) -> AbstractAsyncContextManager[TransportClient]:
        return connected(url)


class Guest(AuthenticatorContract):
    lasting = False

    def __init__(self, copy: Copy) -> None:
        self.plugin = copy.module("guest")

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        made: Authenticator = self.plugin.GuestAuthenticator(allow_public=True)
        return made

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"displayName": person}


class WorldId(WorldIdSignUps):
    """The simulated World is no copy."""

    def __init__(self, copy: Copy) -> None:
        self.authenticator = copy.module("worldid.authenticator").WorldIdAuthenticator


Subject = Sqlite | WebSocket | Guest | WorldId


async def run(
    subject: Subject, test: str, folder: Path, parameters: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Run one test of a contract, with what it asks for. `parameters` are those of its `parametrize`."""
    wanted = inspect.signature(getattr(subject, test)).parameters
    asked = {"caplog": caplog} if "caplog" in wanted else {}
    method = functools.partial(getattr(subject, test), **parameters, **asked)
    if isinstance(subject, Sqlite) and "repository" in wanted:
        async with subject.open_repository(folder) as repository:
            await method(repository=repository)
    elif isinstance(subject, Sqlite):
        async with subject.open_pair(folder) as pair:
            await method(pair=pair)
    elif isinstance(subject, WebSocket):
        async with subject.listening(folder, ScriptedGateway()) as server:
            await method(server=server)
    else:
        async with subject.open_desk(folder) as desk:
            await method(desk=desk)
