"""Results of IDKit: parsed strictly, and checked against challenge and configuration before World verifies them.

World's portal verifies the mathematics of a proof. It trusts the caller about the credential, the action and the
environment, accepts a request with one valid item among several, and accepts the same proof repeatedly. All of that is
therefore checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from evanesce.errors import AuthFailed, BadRequest
from evanesce.protocol import codec
from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.settings import WorldIdSettings

PROOF_OF_HUMAN = 1
"""The issuer schema of the credential that proves a unique human."""

REQUEST_BYTES = 16 * 1024
"""The largest proof that is passed on. One from World App has about 1 KiB, or 9 KiB with its integrity bundle."""

Number = Annotated[str, Meta(max_length=66)]
Element = Annotated[str, Meta(max_length=78)]
"""One of the five numbers of a proof: decimal in IDKit, hexadecimal in World's documentation."""

SESSION_PREFIX = "session_"

SessionId = Annotated[str, Meta(pattern=r"^session_[0-9a-f]{128}\Z")]

T = TypeVar("T", bound=msgspec.Struct)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof has to prove.

    `kind` is uniqueness for the configured action, a new session, or the existing session `session_id`. `field` is the
    path of the result in the client's request, for errors.
    """

    kind: Literal["uniqueness", "new_session", "session"]
    nonce: str
    signal: str
    session_id: str | None = None
    field: str = "credential.result"


def bound_signal(signal: str, session_id: str) -> str:
    """Return the signal of a sign-up's proof of uniqueness: the challenge's signal followed by the new session.

    The proof itself thereby names the session by which its owner signs in later.
    """
    return signal + session_id.removeprefix(SESSION_PREFIX)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a result of IDKit that are passed on to World's portal; others are dropped."""

    protocol_version: Literal["3.0", "4.0"]
    nonce: Number
    environment: Annotated[str, Meta(max_length=32)]
    action: Annotated[str, Meta(max_length=128)] | None = None
    session_id: SessionId | None = None
    responses: Annotated[list[dict[str, Any]], Meta(max_length=8)]
    integrity_bundle: dict[str, Any] | None = None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """The response of one credential, in World ID 4.0."""

    identifier: Annotated[str, Meta(max_length=64)]
    issuer_schema_id: int
    signal_hash: Number
    expires_at_min: Annotated[int, Meta(ge=0, lt=2**53)]
    proof: Annotated[list[Element], Meta(min_length=5, max_length=5)]
    nullifier: Number | None = None
    session_nullifier: Annotated[list[Number], Meta(min_length=2, max_length=2)] | None = None


class _LegacyItem(msgspec.Struct, frozen=True, kw_only=True):
    """The response of one credential, in World ID 3.0."""

    identifier: Annotated[str, Meta(max_length=64)]
    signal_hash: Number
    merkle_root: Number
    nullifier: Number
    proof: Annotated[str, Meta(max_length=2050)]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof that matches its challenge. Whether it is valid, World has to verify.

    `request` is the request to World's portal. `nullifier` (64 digits) is that of the person, or of this session proof.
    """

    request: dict[str, Any]
    nullifier: str
    session_id: str | None
    legacy: bool


def check(result: Result, wanted: Wanted, settings: WorldIdSettings) -> Proof:
    """Check a result against its challenge. Raises `AuthFailed`, and `BadRequest` for one that is malformed."""
    legacy = result.protocol_version == "3.0"
    if legacy and not (settings.legacy_proofs and wanted.kind == "uniqueness"):
        raise AuthFailed("This server accepts only proofs of World ID 4.0. Update World App, and try again.")
    if not _same(result.nonce, wanted.nonce):
        raise AuthFailed("This proof answers another request. Start again.")
    if result.environment != settings.environment:
        raise AuthFailed(f"This proof is not from World ID's {settings.environment} environment. Start again.")
    _check_kind(result, wanted, settings)
    if len(result.responses) != 1:
        raise AuthFailed("A sign-in is one proof of one credential. Start again.")
    [raw] = result.responses
    nullifier = _legacy_item(raw, wanted) if legacy else _item(raw, wanted)
    request = msgspec.to_builtins(result)
    request = {name: value for name, value in request.items() if value is not None}
    if len(msgspec.json.encode(request)) > REQUEST_BYTES:
        raise BadRequest(wanted.field, f"A proof is at most {REQUEST_BYTES} bytes.")
    return Proof(request=request, nullifier=nullifier, session_id=result.session_id, legacy=legacy)


def _check_kind(result: Result, wanted: Wanted, settings: WorldIdSettings) -> None:
    """Check the kind of a proof: one of uniqueness has an action, one of a session has the session."""
    if wanted.kind == "uniqueness":
        if result.action != settings.action or result.session_id is not None:
            raise AuthFailed("This proof is for another action than signing up here. Start again.")
        return
    if result.session_id is None or result.action is not None:
        raise AuthFailed("This is not a proof of a World ID session. Start again.")
    if wanted.session_id is not None and result.session_id != wanted.session_id:
        raise AuthFailed("This is the World ID session of another account.")


def _item(raw: Mapping[str, Any], wanted: Wanted) -> str:
    item = _converted(raw, _Item, wanted)
    if item.issuer_schema_id != PROOF_OF_HUMAN or item.identifier != "proof_of_human":
        raise AuthFailed("This server accepts only the credential “proof of human”.")
    _check_signal(item.signal_hash, wanted)
    if wanted.kind == "uniqueness":
        if item.nullifier is None or item.session_nullifier is not None:
            raise BadRequest(f"{wanted.field}.responses", "A proof of uniqueness has a `nullifier`.")
        return _nullifier(item.nullifier)
    if item.session_nullifier is None or item.nullifier is not None:
        raise BadRequest(f"{wanted.field}.responses", "A proof of a session has a `session_nullifier`.")
    return _nullifier(item.session_nullifier[0])


def _legacy_item(raw: Mapping[str, Any], wanted: Wanted) -> str:
    item = _converted(raw, _LegacyItem, wanted)
    # The portal accepts every kind of verification; only that by the orb proves a unique human.
    if item.identifier != "orb":
        raise AuthFailed("This server accepts only the verification by the orb.")
    _check_signal(item.signal_hash, wanted)
    return _nullifier(item.nullifier)


def _converted(raw: Mapping[str, Any], kind: type[T], wanted: Wanted) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        field = codec.field_of(error, f"{wanted.field}.responses")
        raise BadRequest(field, codec.wording(error)) from None


def _check_signal(signal_hash: str, wanted: Wanted) -> None:
    if not _same(signal_hash, encoding.signal_hash(wanted.signal)):
        raise AuthFailed("This proof answers another request. Start again.")


def _same(text: str, expected: str) -> bool:
    """Return whether two texts are the same number: World writes it with and without leading zeros, in either case."""
    try:
        return encoding.number(text) == encoding.number(expected)
    except ValueError:
        return False


def _nullifier(text: str) -> str:
    try:
        return encoding.nullifier(text)
    except ValueError:
        raise AuthFailed("The nullifier of this proof is invalid.") from None
