"""A server that signs people in with World ID, a simulated World over real HTTP, and people with a World App each."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from evanesce.errors import CommandError
from evanesce.interfaces import SignIn
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.memory_store import MemoryServer
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server
from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.settings import WorldIdSettings
from evanesce_plugins.worldid.simulator import results
from evanesce_plugins.worldid.simulator.control import ProveRequest, asked_of
from evanesce_plugins.worldid.simulator.forms import Forms
from evanesce_plugins.worldid.simulator.server import Simulator
from evanesce_plugins.worldid.simulator.world import RelyingParty, World
from tests.plugins.worldid.results import KEY, settings

Fields = dict[str, Any]

ADDRESS = "192.0.2.7"


class Clock:
    """Seconds since 1970, as far ahead as a test wants."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Refusal(Exception):
    """What the server refused: `code` and `message` are the protocol's."""

    def __init__(self, error: CommandError) -> None:
        super().__init__(error.message)
        self.code = error.code.value
        self.message = error.message
        self.retry = error.code.retry


class Deployment:
    """One or more servers of a deployer; `accounts` is what they keep."""

    def __init__(self, simulator: Simulator, clock: Clock, deployed: WorldIdSettings) -> None:
        self.simulator = simulator
        self.clock = clock
        self.settings = deployed
        self.accounts = MemoryRepository()
        self.memory = MemoryServer()
        self._forms = Forms()

    @asynccontextmanager
    async def server(self, *, challenge_seconds: int = 300) -> AsyncIterator[TestServer]:
        async with WorldIdAuthenticator(
            self.settings, challenge_seconds=challenge_seconds, clock=self.clock
        ) as authenticator:
            authenticators = {"worldid": authenticator, "name": NameAuthenticator()}
            async with memory_server(
                authenticators=authenticators, memory=self.memory, repository=self.accounts
            ) as server:
                yield server

    def prove(self, person: str, purpose: str, challenge: Mapping[str, Any], *, legacy: bool = False) -> Fields:
        """Give what IDKit returns to the page when `person` has approved in World App."""
        wanted = msgspec.convert({**challenge, "person": person, "purpose": purpose, "legacy": legacy}, ProveRequest)
        asked, world = asked_of(wanted), self.simulator.world
        if legacy:
            return results.legacy_result(asked, world.prove_legacy(person, asked), self._forms)
        return results.result(asked, world.prove(person, asked), self._forms)


class Browser:
    """A page in somebody's browser: asks for challenges, answers them; `token` is of who is signed in."""

    def __init__(self, deployment: Deployment, server: TestServer) -> None:
        self.deployment = deployment
        self.server = server
        self.token: str | None = None

    async def challenge(self, purpose: str, **fields: Any) -> Fields:
        asked = {"type": "challenge", "provider": "worldid", "purpose": purpose, **fields}
        connection = self.server.connect(bearer=self.token)
        reply = await connection.ask(asked.pop("type"), **asked)
        connection.leave()
        if reply["type"] == "error":
            raise RefusedChallenge(reply)
        return {name: value for name, value in reply.items() if name not in ("type", "ref")}

    async def answer(self, purpose: str, challenge: Mapping[str, Any], result: Fields, **fields: Any) -> SignIn:
        """Send a credential, as `POST /api/v1/session` does. Raises `Refusal`."""
        credential = {"provider": "worldid", "purpose": purpose, "challengeId": challenge["challengeId"]}
        return await self.send(credential | {"result": result} | fields)

    async def send(self, credential: Fields) -> SignIn:
        try:
            answer = await self.server.gateway.sign_in(credential, bearer=self.token, address=ADDRESS)
        except CommandError as error:
            raise Refusal(error) from None
        assert isinstance(answer.reply.token, str)
        self.token = answer.reply.token
        return answer

    async def sign_up(self, person: str, **fields: Any) -> SignIn:
        legacy = bool(fields.pop("legacy", False))
        challenge = await self.challenge("sign_up")
        result = self.deployment.prove(person, "sign_up", challenge, legacy=legacy)
        return await self.answer("sign_up", challenge, result, **({"displayName": person} | fields))

    async def create_session(self, person: str) -> SignIn:
        challenge = await self.challenge("create_session")
        result = self.deployment.prove(person, "create_session", challenge)
        return await self.answer("create_session", challenge, result)

    async def sign_in(self, person: str, user_id: str) -> SignIn:
        challenge = await self.challenge("sign_in", userId=user_id)
        result = self.deployment.prove(person, "sign_in", challenge)
        return await self.answer("sign_in", challenge, result, userId=user_id)

    async def member(self, person: str) -> str:
        """Sign up and make a session; gives the account code."""
        user_id = (await self.sign_up(person)).reply.user_id
        await self.create_session(person)
        return user_id


class RefusedChallenge(Exception):
    """The server gave no challenge."""

    def __init__(self, reply: Fields) -> None:
        super().__init__(reply["message"])
        self.code = reply["code"]
        self.field = reply.get("field")


@asynccontextmanager
async def deployed(**changes: Any) -> AsyncIterator[Deployment]:
    """Run a World of the test's own, and give a deployment that is registered with it."""
    clock = Clock()
    simulator = Simulator(World(seed=secrets.token_bytes(16), clock=clock))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(simulator.serve)
        configured = settings(**({"api_url": url, "timeout": 2.0} | changes))
        signer = Signer(KEY).address
        simulator.world.register(RelyingParty(rp_id=configured.rp_id, app_id=configured.app_id, signer=signer))
        yield Deployment(simulator, clock, configured)
        nursery.cancel_scope.cancel()
