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
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server
from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
from evanesce_plugins.worldid.proof import bound_signal
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.settings import WorldIdSettings
from evanesce_plugins.worldid.simulator import idkit
from evanesce_plugins.worldid.simulator.control import ProveRequest, asked_of
from evanesce_plugins.worldid.simulator.idkit import NumberFormats
from evanesce_plugins.worldid.simulator.server import Simulator
from evanesce_plugins.worldid.simulator.world import RelyingParty, World
from tests.plugins.worldid.results import KEY, settings

Fields = dict[str, Any]

PORTAL_SECONDS = 15.0
"""How long World's portal may take: the most that can be configured, for a loaded machine."""

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
        self._forms = NumberFormats()

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
        """Return what IDKit returns to the page when `person` has approved in World App."""
        wanted = msgspec.convert({**challenge, "person": person, "purpose": purpose, "legacy": legacy}, ProveRequest)
        asked, world = asked_of(wanted), self.simulator.world
        if legacy:
            return idkit.legacy_result(asked, world.prove_legacy(person, asked), self._forms)
        return idkit.result(asked, world.prove(person, asked), self._forms)

    def sign_up(
        self, person: str, challenge: Mapping[str, Any], *, legacy: bool = False, session: bool = True
    ) -> Fields:
        """Return `result`, and `session` where there is to be one, when `person` has approved both in World App."""
        if not session:
            return {"result": self.prove(person, "sign_up", challenge, legacy=legacy)}
        made = self.prove(person, "create_session", {**challenge, "rpContext": challenge["sessionContext"]})
        bound = {**challenge, "signal": bound_signal(challenge["signal"], made["session_id"])}
        return {"session": made, "result": self.prove(person, "sign_up", bound, legacy=legacy)}


class Browser:
    """A page in a browser, which requests and answers challenges; `token` is that of the user who is signed in."""

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

    async def answer(self, purpose: str, challenge: Mapping[str, Any], result: Any, **fields: Any) -> SignIn:
        """Send a credential, as `POST /api/v1/session` does. Raises `Refusal`."""
        return await self.send(credential(purpose, challenge, result=result, **fields))

    async def send(self, given: Fields) -> SignIn:
        try:
            answer = await self.server.gateway.sign_in(given, bearer=self.token, address=ADDRESS)
        except CommandError as error:
            raise Refusal(error) from None
        assert isinstance(answer.reply.token, str)
        self.token = answer.reply.token
        return answer

    async def sign_up(self, person: str, *, legacy: bool = False, session: bool = True, **fields: Any) -> SignIn:
        """Sign up, by a proof of World ID 3.0 if `legacy`, and with a new session unless there is to be none."""
        challenge = await self.challenge("sign_up")
        made = self.deployment.sign_up(person, challenge, legacy=legacy, session=session)
        return await self.send(credential("sign_up", challenge, **({"displayName": person} | made | fields)))

    async def sign_in(self, person: str, code: str) -> SignIn:
        challenge = await self.challenge("sign_in", accountCode=code)
        result = self.deployment.prove(person, "sign_in", challenge)
        return await self.answer("sign_in", challenge, result, accountCode=code)

    async def profile(self) -> Fields:
        """Ask for one's own profile."""
        connection = self.server.connect(bearer=self.token)
        reply: Fields = await connection.ask("profile")
        connection.leave()
        assert reply["type"] == "profile", reply
        return reply

    async def member(self, person: str) -> str:
        """Sign up, and return the account code."""
        await self.sign_up(person)
        code: str = (await self.profile())["accountCode"]
        return code


def credential(purpose: str, challenge: Mapping[str, Any], **fields: Any) -> Fields:
    """Return a credential that answers `challenge`."""
    return {"provider": "worldid", "purpose": purpose, "challengeId": challenge["challengeId"], **fields}


class RefusedChallenge(Exception):
    """The server gave no challenge."""

    def __init__(self, reply: Fields) -> None:
        super().__init__(reply["message"])
        self.reply = reply
        self.code = reply["code"]
        self.field = reply.get("field")


@asynccontextmanager
async def deployed(**changes: Any) -> AsyncIterator[Deployment]:
    """Run a World of the test's own, and give a deployment that is registered with it."""
    clock = Clock()
    simulator = Simulator(World(seed=secrets.token_bytes(16), clock=clock))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(simulator.serve)
        configured = settings(**({"api_url": url, "timeout": PORTAL_SECONDS} | changes))
        signer = Signer(KEY).address
        simulator.world.register(RelyingParty(rp_id=configured.rp_id, app_id=configured.app_id, signer=signer))
        yield Deployment(simulator, clock, configured)
        nursery.cancel_scope.cancel()
