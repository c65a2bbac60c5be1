"""The contract of authenticators. Each test signs people in through a server in memory, as clients do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from string import ascii_letters, digits
from typing import Any, cast

import msgspec
import pytest
import trio

from evanesce.config.model import LimitsTable
from evanesce.errors import CommandError
from evanesce.interfaces import Authenticator, SignIn
from evanesce.plugins.contracts import MESSAGE_CHARACTERS
from evanesce.testing.contracts.base import PATIENCE, Contract
from evanesce.testing.leaks import MOST_AWAITS, cancelled_at
from evanesce.testing.server import TestServer, memory_server

PEOPLE = ("ada", "bob", "cleo", "dan")
"""The people who sign in in these tests."""

REFUSALS = {"auth_failed", "bad_request"}
"""The codes with which an authenticator refuses what a client sends."""

CANARY = "canary-2f1b9c"

_WRONG: tuple[object, ...] = (None, [], {}, 7, "", "wrong", True)

_ODD: tuple[object, ...] = (None, [1, [2]], {"a": {"b": 1}}, -1, 1e300, True, "", "\x00", "\u202e", "x" * 10_000)
"""What a client may send in any field. Python's JSON has no other kinds of values."""

_LIMITS = LimitsTable(sign_ins_per_minute=1_000, commands_before_hello=1_000)

Fields = dict[str, Any]


class SignInDesk:
    """A server in memory with the authenticator under test."""

    def __init__(self, server: TestServer, authenticator: Authenticator, contract: AuthenticatorContract) -> None:
        self.server = server
        self.authenticator = authenticator
        self._contract = contract

    async def ask(self, **request: Any) -> Fields:
        """Return the reply to a request for a challenge, which may be an `error`."""
        connection = self.server.connect()
        reply = await connection.ask("challenge", provider=self.authenticator.provider, **request)
        connection.leave()
        return reply

    async def challenge(self, person: str) -> Fields:
        """Return a challenge for a person."""
        reply = await self.ask(**await self._contract.request(person))
        assert reply["type"] == "challenge", f"{person} is refused a challenge: {reply}"
        return {name: value for name, value in reply.items() if name not in ("type", "ref")}

    async def credential(self, person: str, challenge: Fields | None = None) -> Fields:
        """Return what a person sends to answer a challenge (None: a new one)."""
        asked = await self.challenge(person) if challenge is None else challenge
        named = {"challengeId": asked["challengeId"]} if "challengeId" in asked else {}
        answer = await self._contract.answer(person, asked)
        return {"provider": self.authenticator.provider} | named | dict(answer)

    async def send(self, credential: Mapping[str, Any]) -> SignIn:
        """Sign in. Raises `CommandError`."""
        sent = msgspec.json.decode(msgspec.json.encode(credential))  # as it arrives
        return await self.server.gateway.sign_in(sent, bearer=None, address="127.0.0.1", local=True)

    async def sign_in(self, person: str) -> str:
        """Sign a person in, and return the id of the user."""
        try:
            return (await self.send(await self.credential(person))).reply.user_id
        except CommandError as error:
            raise AssertionError(f"{person} is refused as {error.code.value}: {error.message}") from error

    async def refusal(self, credential: Mapping[str, Any], why: str) -> CommandError:
        """Return the refusal of a credential. Raises `AssertionError` where it signs in or causes a fault."""
        before = dict(self.server.repository.users)
        try:
            await self.send(credential)
        except CommandError as error:
            assert error.code.value in REFUSALS, f"{why} has to be refused as {REFUSALS}, not as {error.code.value}"
            assert self.server.repository.users == before, f"{why} must change no account"
            return error
        raise AssertionError(f"{why} signs in")


class AuthenticatorContract(Contract):
    """The contract of an `Authenticator`. Override `make_authenticator` and `answer`, and where needed `request`.

    `lasting` is whether a person is the same user at each sign-in; False for guests. `proofs` are the fields of a
    credential that prove who it is from: where one is changed, nobody signs in.
    """

    documented = "reference/python-api/interfaces.md#authenticator"
    lasting: bool = True
    proofs: tuple[str, ...] = ()

    async def make_authenticator(self, folder: Path, nursery: trio.Nursery) -> Authenticator:
        """Return the authenticator under test, which is not open. Override this.

        `folder` is an empty folder. `nursery` is cancelled at the end of the test: a simulated provider may run in it.
        """
        raise NotImplementedError("override make_authenticator")

    async def request(self, person: str) -> Mapping[str, Any]:
        """Return the fields with which a person asks for a challenge."""
        return {}

    async def answer(self, person: str, challenge: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the credential of one of `PEOPLE`, without `provider` and `challengeId`. Override this."""
        raise NotImplementedError("override answer")

    @asynccontextmanager
    async def open_desk(self, folder: Path) -> AsyncGenerator[SignInDesk]:
        """Run a server with the authenticator."""
        async with trio.open_nursery() as nursery:
            authenticator = await self.make_authenticator(folder, nursery)
            async with (
                authenticator,
                memory_server(authenticators={authenticator.provider: authenticator}, limits=_LIMITS) as server,
            ):
                yield SignInDesk(server, authenticator, self)
            nursery.cancel_scope.cancel()

    @pytest.fixture
    async def desk(self, contract: Contract, tmp_path: Path) -> AsyncIterator[SignInDesk]:
        """Return the server of `open_desk`."""
        async with cast(AuthenticatorContract, contract).open_desk(tmp_path) as desk:
            yield desk

    async def test_its_provider_is_a_name_for_clients(self, desk: SignInDesk) -> None:
        assert 1 <= len(desk.authenticator.provider) <= 64
        assert set(desk.authenticator.provider) <= {*ascii_letters, *digits, "_", "-", "."}

    async def test_it_says_in_a_few_words_how_it_is(self, desk: SignInDesk) -> None:
        told = await desk.authenticator.check()
        assert 0 < len(told) <= MESSAGE_CHARACTERS
        assert "\n" not in told

    async def test_a_person_is_the_same_user_each_time_unless_a_guest(self, desk: SignInDesk) -> None:
        users = [await desk.sign_in("ada") for _ in range(3)]
        assert len(set(users)) == (1 if self.lasting else 3)

    async def test_two_persons_are_two_users(self, desk: SignInDesk) -> None:
        users = [await desk.sign_in(person) for person in PEOPLE]
        assert len(set(users)) == len(PEOPLE)

    async def test_many_who_sign_in_at_once_are_who_they_are(self, desk: SignInDesk) -> None:
        found: dict[str, set[str]] = {person: set() for person in PEOPLE}

        async def sign_in(person: str) -> None:
            found[person].add(await desk.sign_in(person))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for person in PEOPLE * 3:
                    nursery.start_soon(sign_in, person)
        every = [user for users in found.values() for user in users]
        assert len(every) == len(set(every)) == len(PEOPLE) * (1 if self.lasting else 3)

    async def test_a_changed_proof_signs_nobody_in(self, desk: SignInDesk) -> None:
        await desk.sign_in("bob")
        for name in self.proofs:
            for value in _WRONG:
                credential = await desk.credential("ada") | {name: value}
                await desk.refusal(credential, f"a credential whose {name} is {value!r}")
            credential = await desk.credential("ada")
            del credential[name]
            await desk.refusal(credential, f"a credential without {name}")

    async def test_what_a_client_sends_causes_no_fault(self, desk: SignInDesk) -> None:
        whole = await desk.credential("ada")
        for name in (*whole, "another"):
            for value in _ODD:
                if name != "provider":
                    await self._send(desk, whole | {name: value}, f"a credential whose {name} is {value!r:.40}")
        await self._send(desk, {"provider": desk.authenticator.provider}, "a credential without fields")

    async def _send(self, desk: SignInDesk, credential: Mapping[str, Any], what: str) -> None:
        try:
            await desk.send(credential)
        except CommandError as error:
            assert error.code.value in REFUSALS, f"{what} has to be refused as {REFUSALS}, not as {error.code.value}"

    async def test_what_a_client_asks_for_causes_no_fault(self, desk: SignInDesk) -> None:
        whole = dict(await self.request("ada"))
        for name in (*whole, "another"):
            for value in _ODD:
                reply = await desk.ask(**whole | {name: value})
                told = f"a request whose {name} is {value!r:.40} has to be answered, or refused as {REFUSALS}"
                assert reply["type"] == "challenge" or reply["code"] in REFUSALS, f"{told}: {reply}"

    async def test_no_refusal_repeats_what_was_sent(self, desk: SignInDesk, caplog: pytest.LogCaptureFixture) -> None:
        whole = await desk.credential("ada")
        for name, value in whole.items():
            if isinstance(value, str) and name != "provider":
                try:
                    await desk.send(whole | {name: CANARY})
                except CommandError as error:
                    assert CANARY not in error.message, f"the refusal repeats {name}"
        assert CANARY not in caplog.text, "the log repeats what was sent"

    async def test_a_sign_in_that_is_cancelled_can_be_done_again(self, desk: SignInDesk) -> None:
        number, users = 1, set[str]()

        async def body() -> None:
            users.add(await desk.sign_in("ada"))

        with trio.fail_after(PATIENCE):
            while await cancelled_at(number, body):
                number += 1
                assert number < MOST_AWAITS, "a sign-in has to end"
        users.add(await desk.sign_in("ada"))
        assert len(users) == (1 if self.lasting else len(users))
        assert await desk.authenticator.check()


class ChallengeContract(AuthenticatorContract):
    """The contract of an `Authenticator` whose credentials answer a challenge that the server keeps."""

    async def test_a_challenge_is_answered_once(self, desk: SignInDesk) -> None:
        credential = await desk.credential("ada")
        await desk.send(credential)
        await desk.refusal(credential, "a credential that was used already")

    async def test_of_many_answers_to_one_challenge_at_once_one_signs_in(self, desk: SignInDesk) -> None:
        credential = await desk.credential("ada")
        signed_in: list[SignIn] = []

        async def send() -> None:
            try:
                signed_in.append(await desk.send(credential))
            except CommandError as error:
                assert error.code.value in REFUSALS, f"a second answer is refused as {error.code.value}"

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(send)
        assert len(signed_in) == 1

    async def test_an_expired_challenge_is_refused(self, desk: SignInDesk) -> None:
        credential = await desk.credential("ada")
        desk.server.store.server.one_time_values.clear()
        await desk.refusal(credential, "an answer to a challenge that has expired")

    async def test_a_credential_without_a_challenge_is_refused(self, desk: SignInDesk) -> None:
        credential = await desk.credential("ada")
        await desk.refusal(credential | {"challengeId": CANARY}, "an answer to an unknown challenge")
        del credential["challengeId"]
        await desk.refusal(credential, "an answer to no challenge")

    async def test_an_answer_to_another_challenge_is_refused(self, desk: SignInDesk) -> None:
        first, second = await desk.challenge("ada"), await desk.challenge("ada")
        credential = await desk.credential("ada", first)
        moved = credential | {"challengeId": second["challengeId"]}
        await desk.refusal(moved, "an answer to another challenge")

    async def test_every_challenge_is_a_new_one(self, desk: SignInDesk) -> None:
        ids = [(await desk.challenge("ada"))["challengeId"] for _ in range(5)]
        assert len(set(ids)) == 5


class OutsideProviderContract(AuthenticatorContract):
    """The contract of an `Authenticator` that asks others. Override `stop_provider` and `start_provider`."""

    async def stop_provider(self) -> None:
        """Make the provider fail, or leave its requests without an answer. Override this."""
        raise NotImplementedError("override stop_provider")

    async def start_provider(self) -> None:
        """Make the provider work again. Override this."""
        raise NotImplementedError("override start_provider")

    async def test_while_the_provider_is_down_a_credential_is_not_used_up(self, desk: SignInDesk) -> None:
        credential = await desk.credential("ada")
        await self.stop_provider()
        with trio.fail_after(PATIENCE), pytest.raises(CommandError) as refused:
            await desk.send(credential)
        assert refused.value.code.value == "auth_unavailable"
        assert desk.server.repository.users == {}
        await self.start_provider()
        assert (await desk.send(credential)).reply.user_id
