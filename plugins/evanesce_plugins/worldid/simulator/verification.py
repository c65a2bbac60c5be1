"""Requests for verification: validated against the schema of the portal, and each item verified by World."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from evanesce_plugins.worldid.simulator import idkit
from evanesce_plugins.worldid.simulator.proofs import LegacyStatement, SessionId, Statement, action_number
from evanesce_plugins.worldid.simulator.world import World

_Digits = Annotated[str, Meta(pattern=r"^(0x)?[0-9a-fA-F]+\Z")]
_SignalHash = Annotated[str, Meta(pattern=r"^0x[0-9a-f]+\Z")]
_Proof = Annotated[list[str], Meta(min_length=5, max_length=5)]

_T = TypeVar("_T")

_EMPTY_SIGNAL = "0x00c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a4"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a verification; the version determines the schema of `responses`."""

    protocol_version: Literal["3.0", "4.0"]
    nonce: str
    responses: Annotated[list[Any], Meta(min_length=1)]
    action: str | None = None
    session_id: str | None = None
    environment: Literal["production", "staging", "sandbox"] = "production"


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    identifier: str
    issuer_schema_id: int
    expires_at_min: int
    proof: _Proof
    signal_hash: _SignalHash = "0x0"


class _UniquenessItem(_Item, frozen=True, kw_only=True):
    nullifier: _Digits


class _SessionItem(_Item, frozen=True, kw_only=True):
    session_nullifier: Annotated[list[str], Meta(min_length=2, max_length=2)]


class _LegacyItem(msgspec.Struct, frozen=True, kw_only=True):
    identifier: Literal["orb", "device", "face", "document", "secure_document"]
    merkle_root: str
    nullifier: _Digits
    proof: str
    signal_hash: _SignalHash = _EMPTY_SIGNAL


_AnyItem = _UniquenessItem | _SessionItem | _LegacyItem


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one item, in the response's `results`."""

    identifier: str
    success: bool
    nullifier: str | None = None
    code: str | None = None
    detail: str | None = None


class Invalid(Exception):
    """The body does not fit the schema; `attribute` is the path of the error."""

    def __init__(self, attribute: str, detail: str) -> None:
        super().__init__(detail)
        self.attribute = attribute
        self.detail = detail


def read(value: Any) -> tuple[Request, Sequence[_AnyItem]]:
    """Convert the decoded JSON of a body. Raises `Invalid`."""
    request = _converted(value, Request, "")
    if request.session_id and request.action:
        raise Invalid("action", "a session proof has no action")
    if not request.session_id and not request.action:
        raise Invalid("action", "a uniqueness proof has an action")
    kind: type[_AnyItem] = _UniquenessItem
    if request.protocol_version == "3.0":
        kind = _LegacyItem
    elif request.session_id:
        kind = _SessionItem
    return request, [_converted(item, kind, f"responses[{number}]") for number, item in enumerate(request.responses)]


def outcome(world: World, rp_id: str, app_id: str, request: Request, item: _AnyItem) -> Outcome:
    """Verify one item for the RP and the app. Trusts the request about environment and action, as the portal does."""
    try:
        if isinstance(item, _LegacyItem):
            nullifier, code = item.nullifier, _legacy_fault(world, app_id, request, item)
        else:
            nullifier, code = _fault(world, rp_id, request, item)
    except ValueError as error:
        return Outcome(identifier=item.identifier, success=False, code="verification_error", detail=str(error))
    if code is not None:
        return Outcome(identifier=item.identifier, success=False, code=code, detail="This proof does not hold.")
    return Outcome(identifier=item.identifier, success=True, nullifier=nullifier)


def _fault(world: World, rp_id: str, request: Request, item: _UniquenessItem | _SessionItem) -> tuple[str, str | None]:
    if isinstance(item, _SessionItem):
        nullifier, written_action = item.session_nullifier
        action = idkit.read_number(written_action)
        # The seed in a session's id is not part of a proof: the portal accepts any.
        session = SessionId.parse(request.session_id or "").commitment
    else:
        nullifier, action, session = item.nullifier, action_number(request.action or ""), 0
    statement = Statement(
        environment=_environment(request),
        rp_id=rp_id,
        action=action,
        session=session,
        nullifier=idkit.read_number(nullifier),
        signal_hash=idkit.read_number(item.signal_hash),
        nonce=idkit.read_number(request.nonce),
        issuer_schema_id=item.issuer_schema_id,
        expires_at_min=item.expires_at_min,
    )
    proof = [idkit.read_number(number) for number in item.proof]
    return nullifier, world.prover.fault(statement, proof, world.clock())


def _legacy_fault(world: World, app_id: str, request: Request, item: _LegacyItem) -> str | None:
    # Each identifier has a tree of its own, and every person here is in that of the orb.
    if item.identifier != "orb":
        return "invalid_merkle_root"
    statement = LegacyStatement(
        environment=_environment(request),
        app_id=app_id,
        action=request.action or "",
        nullifier=idkit.read_number(item.nullifier),
        signal_hash=idkit.read_number(item.signal_hash),
    )
    proof = bytes.fromhex(item.proof.removeprefix("0x"))
    return world.prover.legacy_fault(statement, idkit.read_number(item.merkle_root), proof)


def _environment(request: Request) -> str:
    return "staging" if request.environment == "sandbox" else request.environment


def _converted(value: Any, kind: type[_T], path: str) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        detail, _, place = str(error).partition(" - at `$")
        where = f"{path}{place.rstrip('`')}".removeprefix(".")
        raise Invalid(where, detail) from None
