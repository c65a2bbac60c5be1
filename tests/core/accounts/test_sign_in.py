"""Challenges and credentials between clients, authenticators, store and repository, in virtual time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import AuthFailed, AuthUnavailable, BadRequest
from evanesce.interfaces import Answered, Caller, Challenge
from evanesce.model import Identity, KnownUser, RegisteredAccount, Registration, User
from evanesce.store.memory import MemoryServer
from evanesce.testing.caller import caller
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server

SECONDS = 60.0


class RiddleAuthenticator(NameAuthenticator):
    """Asks for a word, and takes whoever gives it back. `fault` is raised by the next answers, `hold` holds them."""

    provider = "riddle"

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.answers = 0
        self.hold: trio.Event | None = None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        await trio.lowlevel.checkpoint()
        word = str(request.get("word", "sesame"))
        return Challenge({"hint": word[0]}, kept=word.encode(), seconds=SECONDS)

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        await trio.lowlevel.checkpoint()
        self.answers += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        if answered is None:
            raise AuthFailed("Ask for a challenge first.")
        if answered.challenge_id != credential["challengeId"] or answered.kept.decode() != credential["word"]:
            raise AuthFailed("That is not the word.")
        if "userId" in credential:
            return KnownUser(user_id=credential["userId"])
        return Identity(subject=credential["name"], display_name=credential["name"])


def riddle_server(**options: Any) -> Any:
    authenticator = options.pop("authenticator", None) or RiddleAuthenticator()
    return memory_server(authenticators={"riddle": authenticator, "name": NameAuthenticator()}, **options)


async def ask(server: TestServer, **fields: Any) -> dict[str, Any]:
    return await server.connect().ask("challenge", provider="riddle", **fields)


async def answer(server: TestServer, challenge: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    credential = {"provider": "riddle", "challengeId": challenge["challengeId"], "word": "sesame", "name": "ada"}
    return await server.connect().ask("hello", credential=credential | fields)


async def test_a_challenge_is_answered_once(autojump_clock: MockClock) -> None:
    async with riddle_server() as server:
        challenge = await ask(server)
        assert challenge["hint"] == "s"
        assert "sesame" not in str(challenge), "what is kept is kept by the server"
        assert challenge["expiresAt"] > (await server.connect().ask("ping"))["serverTime"]
        assert (await answer(server, challenge))["type"] == "welcome"
        again = await answer(server, challenge)
        assert (again["type"], again["code"]) == ("error", "auth_failed")


async def test_a_wrong_answer_uses_it_up(autojump_clock: MockClock) -> None:
    async with riddle_server() as server:
        challenge = await ask(server)
        assert (await answer(server, challenge, word="simsim"))["code"] == "auth_failed"
        assert (await answer(server, challenge))["code"] == "auth_failed"


async def test_it_expires(autojump_clock: MockClock) -> None:
    async with riddle_server() as server:
        in_time, too_late = await ask(server), await ask(server)
        await trio.sleep(SECONDS - 0.1)
        assert (await answer(server, in_time))["type"] == "welcome"
        await trio.sleep(0.2)
        assert (await answer(server, too_late))["code"] == "auth_failed"


@pytest.mark.parametrize("challenge_id", ["", "x", 5, None, "00000000-0000-4000-8000-000000000000", "a" * 1000])
async def test_an_id_that_names_none(challenge_id: object, autojump_clock: MockClock) -> None:
    async with riddle_server() as server:
        assert (await answer(server, {"challengeId": challenge_id}))["code"] == "auth_failed"


async def test_another_providers_challenge_is_none(autojump_clock: MockClock) -> None:
    async with riddle_server() as server:
        challenge = await ask(server)
        credential = {"provider": "name", "name": "ada", "challengeId": challenge["challengeId"]}
        assert (await server.connect().ask("hello", credential=credential))["type"] == "welcome"
        assert (await answer(server, challenge))["type"] == "welcome", "it was not touched"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (AuthUnavailable(), "auth_unavailable"),
        (BadRequest("credential.word", "Too long."), "bad_request"),
        (RuntimeError("a defect"), "auth_unavailable"),
    ],
)
async def test_what_decides_nothing_leaves_it_for_another_try(
    fault: Exception, code: str, autojump_clock: MockClock
) -> None:
    authenticator = RiddleAuthenticator()
    async with riddle_server(authenticator=authenticator) as server:
        challenge = await ask(server)
        authenticator.fault = fault
        assert (await answer(server, challenge))["code"] == code
        authenticator.fault = None
        assert (await answer(server, challenge))["type"] == "welcome"


async def test_put_back_it_does_not_live_longer(autojump_clock: MockClock) -> None:
    authenticator = RiddleAuthenticator()
    async with riddle_server(authenticator=authenticator) as server:
        challenge = await ask(server)
        await trio.sleep(SECONDS - 1)
        authenticator.fault = AuthUnavailable()
        await answer(server, challenge)
        authenticator.fault = None
        await trio.sleep(1.1)
        assert (await answer(server, challenge))["code"] == "auth_failed"


async def test_a_database_that_is_down_leaves_it_too(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with riddle_server(repository=repository) as server:
        challenge = await ask(server)
        repository.state = "down"
        refused = await answer(server, challenge)
        assert (refused["code"], refused["retry"]) == ("persistence_unavailable", True)
        repository.state = "up"
        assert (await answer(server, challenge))["type"] == "welcome"


async def test_a_client_that_leaves_in_the_middle_may_come_back_with_it(autojump_clock: MockClock) -> None:
    authenticator = RiddleAuthenticator()
    async with riddle_server(authenticator=authenticator) as server:
        challenge = await ask(server)
        authenticator.hold = trio.Event()
        credential = {"provider": "riddle", "challengeId": challenge["challengeId"], "word": "sesame", "name": "ada"}
        with trio.move_on_after(1):
            await server.gateway.sign_in(credential, bearer=None, address="192.0.2.1")
        assert authenticator.answers == 1
        authenticator.hold = None
        assert (await answer(server, challenge))["type"] == "welcome"


async def test_of_two_answers_at_once_on_two_servers_one_wins(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    authenticator = RiddleAuthenticator()
    options = {"memory": memory, "repository": repository, "authenticator": authenticator}
    async with riddle_server(**options) as one, riddle_server(**options) as two:
        challenge = await ask(one)
        replies: list[dict[str, Any]] = []

        async def try_at(server: TestServer) -> None:
            replies.append(await answer(server, challenge))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_at, one)
            nursery.start_soon(try_at, two)
        assert sorted(reply["type"] for reply in replies) == ["error", "welcome"]


async def test_a_store_that_is_down_says_so(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with riddle_server(memory=memory) as server:
        challenge = await ask(server)
        memory.go_down()
        assert (await ask(server))["code"] == "store_unavailable"
        assert (await answer(server, challenge))["code"] == "store_unavailable"
        memory.come_back()
        assert (await answer(server, challenge))["type"] == "welcome"


async def test_a_known_account_is_signed_in_to_and_never_made(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with riddle_server(repository=repository) as server:
        ada = await answer(server, await ask(server))
        known = await answer(server, await ask(server), userId=ada["userId"])
        assert (known["userId"], known["displayName"]) == (ada["userId"], "ada")
        nobody = "00000000-0000-4000-8000-000000000000"
        assert (await answer(server, await ask(server), userId=nobody))["code"] == "auth_failed"
        assert list(repository.users) == [ada["userId"]]


async def test_somebody_elses_account_on_a_connection_that_is_signed_in(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with riddle_server(repository=repository) as server:
        ada = await answer(server, await ask(server))
        connection = await server.sign_in("bob")
        for fields in ({"userId": ada["userId"]}, {"name": "ada"}, {"name": "carol"}):
            challenge = await ask(server)
            credential = {"provider": "riddle", "word": "sesame", **fields, "challengeId": challenge["challengeId"]}
            assert (await connection.ask("hello", credential=credential))["code"] == "forbidden"
        assert len(repository.users) == 2, "nobody new was made"


class MixedUp(MemoryRepository):
    """A repository of somebody else's that returns users in another order than it was asked for."""

    async def signed_in(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        return [*reversed(await super().signed_in(sign_ins))]


async def test_nobody_is_signed_in_as_another_user_by_a_repository_that_mixes_them_up(
    autojump_clock: MockClock,
) -> None:
    found: dict[str, User | None] = {}

    async def come_back(name: str, token: str) -> None:
        with suppress(RuntimeError):
            found[name] = await server.gateway.identify(token)

    async with memory_server(repository=MixedUp()) as server:
        welcomes = {}
        for name in ("ada", "bob", "carol"):
            credential = {"provider": "name", "name": name}
            welcomes[name] = await server.connect().ask("hello", credential=credential)
        async with trio.open_nursery() as nursery:
            for name, welcome in welcomes.items():
                nursery.start_soon(come_back, name, welcome["token"])
    [(name, user)] = found.items()  # one was looked up alone, and the two others together
    assert user is not None
    assert user.user_id == welcomes[name]["userId"]


class Keeper(NameAuthenticator):
    """Uses everything that an authenticator may ask and keep of accounts."""

    provider = "keeper"

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        accounts = caller.accounts
        kept = Registration(value=credential["key"], account_code=credential["code"])
        identity = Identity(subject=credential["name"], display_name="Ada", registration=kept)
        found = await accounts.find(credential["code"])
        assert await accounts.exists(identity) == (found is not None)
        assert await accounts.exists(Identity(subject="nobody", display_name="Nobody")) is False
        if found is None:
            return identity
        assert found.value == "key"
        assert await accounts.spend(found.user_id, "proof", "one") is True
        assert await accounts.spend(found.user_id, "proof", "two") is False
        return KnownUser(user_id=found.user_id)


KEPT = {"provider": "keeper", "name": "ada", "key": "key", "code": "CODE"}


async def test_what_a_provider_keeps_stands_under_its_name(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with memory_server(authenticators={"keeper": Keeper()}, repository=repository) as server:
        welcome = await server.connect().ask("hello", credential=KEPT)
        again = await server.connect().ask("hello", credential=KEPT)
        assert (again["type"], again["userId"]) == ("welcome", welcome["userId"])
        kept = Registration(value="key", account_code="CODE")
        assert repository.registered == {("keeper", welcome["userId"]): kept}
        assert repository.spent == {("keeper", "proof"): (welcome["userId"], "one")}


async def test_what_is_anothers_is_not_registered_and_makes_no_account(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with memory_server(authenticators={"keeper": Keeper()}, repository=repository) as server:
        ada = await server.connect().ask("hello", credential=KEPT)
        bob = await server.connect().ask("hello", credential=KEPT | {"name": "bob", "code": "OTHER"})
        assert bob["code"] == "auth_failed"
        assert list(repository.users) == [ada["userId"]]
        assert len(repository.registered) == 1


async def test_the_account_code_is_shown_to_its_owner_alone(autojump_clock: MockClock) -> None:
    authenticators = {"keeper": Keeper(), "name": NameAuthenticator()}
    async with memory_server(authenticators=authenticators) as server:
        ada, bob = server.connect(), await server.sign_in("bob")
        welcome = await ada.ask("hello", credential=KEPT)
        assert (await ada.ask("profile"))["accountCode"] == "CODE"
        assert (await ada.ask("update_profile", displayName="Ada L."))["accountCode"] == "CODE"
        assert "accountCode" not in await bob.ask("profile"), "its provider has given it none"
        room = await ada.ask("create_room")
        seen = [welcome, room, await ada.ask("join", roomId=room["roomId"])]
        seen += [await bob.ask("join", roomId=room["roomId"]), await bob.ask("members", roomId=room["roomId"])]
        assert "CODE" not in str(seen)


class Devices(NameAuthenticator):
    """Counts sign-ins in what it has registered, and ends the earlier ones of an account. `callers` are those seen."""

    provider = "devices"

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        self.callers.append(caller)
        sign_in_id = str(uuid.uuid4())
        found = await caller.accounts.find("CODE")
        if found is None:
            kept = Registration(value=sign_in_id, account_code="CODE")
            return Identity(subject="ada", display_name="Ada", registration=kept, sign_in_id=sign_in_id)
        assert not await caller.accounts.change(found.user_id, sign_in_id, "something else")
        assert await caller.accounts.change(found.user_id, sign_in_id, found.value)
        await caller.accounts.end_sign_in(found.value)
        return KnownUser(user_id=found.user_id, sign_in_id=sign_in_id)


DEVICE = {"provider": "devices"}


async def test_a_provider_chooses_the_id_of_a_sign_in_and_ends_it(autojump_clock: MockClock) -> None:
    memory, repository, devices = MemoryServer(), MemoryRepository(), Devices()
    options: dict[str, Any] = {"memory": memory, "repository": repository, "authenticators": {"devices": devices}}
    async with memory_server(**options) as one, memory_server(**options) as two:
        first, second = one.connect(), two.connect()
        welcome = await first.ask("hello", credential=DEVICE)
        assert (await second.ask("hello", credential=DEVICE))["userId"] == welcome["userId"]
        assert (await first.until("goodbye"))["code"] == 4401
        assert (await one.connect().ask("hello", token=welcome["token"]))["code"] == "invalid_token"
        assert (await second.ask("ping"))["type"] == "pong"
        ended = set(repository.revoked)
        assert len(ended) == 1
        assert {kept.value for kept in repository.registered.values()}.isdisjoint(ended)
        await trio.sleep(2)
        assert repository.purges, "what was replaced is removed from files"


async def test_a_provider_learns_how_old_the_proof_of_a_token_is(autojump_clock: MockClock) -> None:
    devices = Devices()
    async with memory_server(authenticators={"devices": devices}) as server:
        welcome = await server.connect().ask("hello", credential=DEVICE)
        await trio.sleep(50)
        connection = server.connect(bearer=welcome["token"])
        await connection.ask("hello")
        token = (await connection.ask("refresh"))["token"]
        await trio.sleep(50)
        await server.gateway.sign_in(DEVICE, bearer=token, address="127.0.0.1", local=True)
        new, old = devices.callers
        assert (new.user, new.sign_in_id, new.sign_in_age) == (None, None, None)
        assert old.user is not None
        assert old.sign_in_id is not None
        assert old.sign_in_age is not None
        assert 99 <= old.sign_in_age <= 101


async def test_what_a_provider_registers_is_bounded(autojump_clock: MockClock) -> None:
    repository = MemoryRepository()
    async with memory_server(authenticators={"devices": Devices()}, repository=repository) as server:
        welcome = await server.connect().ask("hello", credential=DEVICE)
        accounts = caller("devices", repository=repository).accounts
        [kept] = repository.registered.values()
        with pytest.raises(ValueError, match="65536"):
            await accounts.change(welcome["userId"], "x" * 65_537, kept.value)
        assert list(repository.registered.values()) == [kept]
        assert await accounts.change(welcome["userId"], "x" * 65_536, kept.value)


def test_what_is_registered_is_in_no_text_of_an_object() -> None:
    kept = Registration(value="secret value", account_code="secret code")
    identity = Identity(subject="ada", display_name="Ada", registration=kept)
    found = RegisteredAccount(user_id="user", value="secret value")
    assert "secret" not in f"{kept!r} {kept} {identity!r} {found!r} {found}"
