"""A client of World's developer portal, which verifies proofs and knows the registration of the relying party (RP)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NoReturn

import msgspec
import trio

from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce_plugins.provider_http import Answer, NoAnswer, ProviderClient
from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.proof import Proof

logger = logging.getLogger(__name__)

_CODE = re.compile(r"[a-z0-9_]{1,64}")

_WORDS = {
    # about one proof
    "outdated_nullifier": "it is too old by now. Make a new one",
    "nullifier_from_future": "the clock of its device is wrong. Set it, and make a new one",
    "invalid_root": "World does not know its root yet. Wait a few minutes, and make a new one",
    "invalid_merkle_root": "World does not know its root yet. Wait a few minutes, and make a new one",
    "invalid_credential_issuer": "it is of a credential that World does not know. Update World App",
    "invalid_proof": "it is invalid. Make a new one",
    "invalid_public_input": "it is invalid. Make a new one",
    "verification_failed": "it is invalid. Make a new one",
    "verification_error": "it could not be checked. Make a new one",
    "generic_error": "it could not be checked. Make a new one",
    "all_verifications_failed": "it is invalid. Make a new one",
    "environment_mismatch": "it is of another environment of World ID",
    "environment_not_allowed": "it is of another environment of World ID",
    "integrity_verification_failed": "World App could not show that it is unchanged. Update it",
    # about the request
    "invalid_request": "World cannot read it. Make a new one",
    "validation_error": "World cannot read it. Make a new one",
    "required": "World cannot read it. Make a new one",
    # about the deployer
    "app_not_migrated": "this server is not registered for World ID 4.0. Its operator has to do that",
    "rp_not_active": "this server's registration is not active. Its operator has to activate it",
    "configuration_error": "this server's registration is not complete. Its operator has to complete it",
    "not_found": "World does not know this server any more. Its operator has to register it",
}

OPERATORS = frozenset({"app_not_migrated", "rp_not_active", "configuration_error", "not_found"})
"""Codes that only the operator can resolve. They are logged."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the RP's registration in each environment (None: unknown), and the portal's clock, if known."""

    production: str | None
    staging: str | None
    time: float | None


class _ItemAnswer(msgspec.Struct, frozen=True):
    """The result for one item of a proof."""

    success: bool | None = None
    code: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    """Any response of the portal. Early errors have a `code` and no `success`."""

    success: bool | None = None
    code: str | None = None
    action: str | None = None
    session_id: str | None = None
    environment: str | None = None
    protocol_version: str | None = None
    nullifier: str | None = None
    results: list[_ItemAnswer] | None = None
    production_status: str | None = None
    staging_status: str | None = None


class Portal:
    """The portal at `url`. Used by `async with`; each call takes at most `timeout` seconds."""

    def __init__(self, url: str, rp_id: str, timeout: float) -> None:
        self._url = url
        self._rp_id = rp_id
        self._timeout = timeout
        self._client = ProviderClient()

    async def __aenter__(self) -> Portal:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    async def verify(self, *proofs: Proof) -> None:
        """Verify proofs, within one time-out. Raises `AuthFailed` for an invalid one, and `AuthUnavailable`."""
        deadline = trio.current_time() + self._timeout
        for proof in proofs:
            await self._verify(proof, deadline)

    async def _verify(self, proof: Proof, deadline: float) -> None:
        path, content = f"/api/v4/verify/{self._rp_id}", msgspec.json.encode(proof.request)
        response, answer = await self._ask("POST", path, content, deadline)
        if response.status != 200 or not answer.success:
            self._refuse(answer)
        if not _matches(answer, proof):
            logger.error("World's portal answered for another proof than it was asked about")
            raise AuthFailed("World ID answered for another proof. Start again.")

    async def status(self) -> Status:
        """Return the state of the RP's registration. Raises `AuthUnavailable`, and `AuthFailed` where there is none."""
        deadline = trio.current_time() + self._timeout
        response, answer = await self._ask("GET", f"/api/v4/rp-status/{self._rp_id}", None, deadline)
        if response.status != 200:
            self._refuse(answer)
        return Status(answer.production_status, answer.staging_status, _time(response.headers.get("Date")))

    async def _ask(self, method: str, path: str, content: bytes | None, deadline: float) -> tuple[Answer, _Answer]:
        problem = f"it gave no answer within {self._timeout:g} s"
        with trio.move_on_at(deadline):
            try:
                return await self._exchange(method, path, content)
            except NoAnswer as error:
                problem = error.problem
        logger.warning("World's portal: %s", problem)
        raise PortalUnavailable(problem)

    async def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[Answer, _Answer]:
        headers = {} if content is None else {"Content-Type": "application/json"}
        response = await self._client.request(method, self._url + path, content=content, headers=headers)
        try:
            return response, msgspec.json.decode(response.body, type=_Answer)
        except (msgspec.DecodeError, ValueError, RecursionError):
            # Not a documented one, but for example a gateway's page.
            raise NoAnswer(f"it answered HTTP {response.status} with a body that is not the portal's") from None

    def _refuse(self, answer: _Answer) -> NoReturn:
        code = _code(answer)
        if code in OPERATORS:
            logger.error("World's portal refuses %s: %s. Run evanesce check", self._rp_id, code)
        raise AuthFailed(refusal(code))


class PortalUnavailable(AuthUnavailable):
    """The portal cannot be used. `problem` is the reason, for the deployer."""

    def __init__(self, problem: str) -> None:
        super().__init__("World ID does not answer. Try again in a moment.")
        self.problem = problem


def _code(answer: _Answer) -> str:
    """Return the code of a refusal: that of its only item, if there is one, which is more specific."""
    codes = [item.code for item in answer.results or ()] if len(answer.results or ()) == 1 else []
    for code in (*codes, answer.code):
        if code is not None and _CODE.fullmatch(code):
            return code
    return "unknown"


def _matches(answer: _Answer, proof: Proof) -> bool:
    """Return whether a success is about this proof: every value that the response repeats must be equal."""
    asked = proof.request
    for repeated, ours in (
        (answer.environment, asked["environment"]),
        (answer.protocol_version, asked["protocol_version"]),
        (answer.action, asked.get("action")),
        (answer.session_id, proof.session_id),
    ):
        if repeated is not None and repeated != ours:
            return False
    if answer.results is None or [item.success for item in answer.results] != [True]:
        return False
    if proof.session_id is not None:
        return answer.session_id is not None
    try:
        return encoding.nullifier(answer.nullifier or "") == proof.nullifier
    except ValueError:
        return False


def _time(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def refusal(code: str) -> str:
    """Return why World did not accept a proof. The portal's `code` is part of the text, so that it can be looked up."""
    why = _WORDS.get(code, "its reason is not known here. Make a new one")
    return f"World ID did not accept this proof: {why} ({code})."
