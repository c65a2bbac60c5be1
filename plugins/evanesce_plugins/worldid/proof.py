"""What IDKit returned: read strictly, and held against the challenge and the configuration before World is asked.

World's portal verifies the mathematics of a proof. It believes the caller on which credential, action and environment
it is about, it takes one good item of several, and it answers a proof again and again: so all that is looked at here.
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
"""The issuer schema of the credential that says: a human, and only once."""

REQUEST_BYTES = 16 * 1024
"""The largest proof that is passed on; what comes from World's app has about 1 KiB, with its integrity bundle 9."""

Purpose = Literal["sign_up", "create_session", "sign_in"]

Number = Annotated[str, Meta(max_length=66)]
Element = Annotated[str, Meta(max_length=78)]
"""One of a proof's five numbers: IDKit writes them in decimal, World's documentation shows them in hexadecimal."""

SessionId = Annotated[str, Meta(pattern=r"^session_[0-9a-f]{128}\Z")]

T = TypeVar("T", bound=msgspec.Struct)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a challenge asked for. `user_id` is whose account it is about, `session_id` what has to be proved again."""

    purpose: Purpose
    nonce: str
    signal: str
    user_id: str | None = None
    session_id: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What IDKit returned, as far as World's portal is told of it; whatever else stands in it is left out."""

    protocol_version: Literal["3.0", "4.0"]
    nonce: Number
    environment: Annotated[str, Meta(max_length=32)]
    action: Annotated[str, Meta(max_length=128)] | None = None
    session_id: SessionId | None = None
    responses: Annotated[list[dict[str, Any]], Meta(max_length=8)]
    integrity_bundle: dict[str, Any] | None = None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One credential's answer, by World ID 4.0."""

    identifier: Annotated[str, Meta(max_length=64)]
    issuer_schema_id: int
    signal_hash: Number
    expires_at_min: Annotated[int, Meta(ge=0, lt=2**53)]
    proof: Annotated[list[Element], Meta(min_length=5, max_length=5)]
    nullifier: Number | None = None
    session_nullifier: Annotated[list[Number], Meta(min_length=2, max_length=2)] | None = None


class _LegacyItem(msgspec.Struct, frozen=True, kw_only=True):
    """One credential's answer, by World ID 3.0."""

    identifier: Annotated[str, Meta(max_length=64)]
    signal_hash: Number
    merkle_root: Number
    nullifier: Number
    proof: Annotated[str, Meta(max_length=2050)]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof that is about what was asked; whether it is true, World has to say.

    `request` is what World's portal is asked. `nullifier` (64 digits) is the person's, or this session proof's own.
    """

    request: dict[str, Any]
    nullifier: str
    session_id: str | None
    legacy: bool


def check(result: Result, asked: Asked, settings: WorldIdSettings) -> Proof:
    """Hold a result against what was asked. Raises `AuthFailed`, and `BadRequest` for one that is malformed."""
    legacy = result.protocol_version == "3.0"
    if legacy and not (settings.legacy_proofs and asked.purpose == "sign_up"):
        raise AuthFailed("This server takes proofs of World ID 4.0 alone. Update World App, and try again.")
    if not _same(result.nonce, asked.nonce):
        raise AuthFailed("This proof answers another request. Start again.")
    if result.environment != settings.environment:
        raise AuthFailed(f"This proof is not of World ID's {settings.environment} environment, as it has to be here.")
    _check_kind(result, asked, settings)
    if len(result.responses) != 1:
        raise AuthFailed("A sign-in is one proof of one credential. Start again.")
    [raw] = result.responses
    nullifier = _legacy_item(raw, asked) if legacy else _item(raw, asked)
    request = msgspec.to_builtins(result)
    request = {name: value for name, value in request.items() if value is not None}
    if len(msgspec.json.encode(request)) > REQUEST_BYTES:
        raise BadRequest("credential.result", f"A proof is at most {REQUEST_BYTES} bytes.")
    return Proof(request=request, nullifier=nullifier, session_id=result.session_id, legacy=legacy)


def _check_kind(result: Result, asked: Asked, settings: WorldIdSettings) -> None:
    """Tell proofs of uniqueness, which have an action, from those of a session, which name it."""
    if asked.purpose == "sign_up":
        if result.action != settings.action or result.session_id is not None:
            raise AuthFailed("This proof is for another action than signing up here. Start again.")
        return
    if result.session_id is None or result.action is not None:
        raise AuthFailed("This is no proof of a World ID session. Start again.")
    if asked.session_id is not None and result.session_id != asked.session_id:
        raise AuthFailed("This is the World ID session of another account.")


def _item(raw: Mapping[str, Any], asked: Asked) -> str:
    item = _converted(raw, _Item)
    if item.issuer_schema_id != PROOF_OF_HUMAN or item.identifier != "proof_of_human":
        raise AuthFailed("This server takes the credential “proof of human” alone.")
    _check_signal(item.signal_hash, asked)
    if asked.purpose == "sign_up":
        if item.nullifier is None or item.session_nullifier is not None:
            raise BadRequest("credential.result.responses", "A proof of uniqueness has a `nullifier`.")
        return _nullifier(item.nullifier)
    if item.session_nullifier is None or item.nullifier is not None:
        raise BadRequest("credential.result.responses", "A proof of a session has a `session_nullifier`.")
    return _nullifier(item.session_nullifier[0])


def _legacy_item(raw: Mapping[str, Any], asked: Asked) -> str:
    item = _converted(raw, _LegacyItem)
    # The portal takes from it how somebody was verified; only the orb's is a proof of one human.
    if item.identifier != "orb":
        raise AuthFailed("This server takes the verification by the orb alone.")
    _check_signal(item.signal_hash, asked)
    return _nullifier(item.nullifier)


def _converted(raw: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        field = codec.field_of(error, "credential.result.responses")
        raise BadRequest(field, codec.wording(error)) from None


def _check_signal(signal_hash: str, asked: Asked) -> None:
    if not _same(signal_hash, encoding.signal_hash(asked.signal)):
        raise AuthFailed("This proof answers another request. Start again.")


def _same(text: str, expected: str) -> bool:
    """Whether two texts are of one number: World writes it with and without leading zeros, in either case."""
    try:
        return encoding.number(text) == encoding.number(expected)
    except ValueError:
        return False


def _nullifier(text: str) -> str:
    try:
        return encoding.nullifier(text)
    except ValueError:
        raise AuthFailed("This proof has no nullifier that World ID could have made.") from None
