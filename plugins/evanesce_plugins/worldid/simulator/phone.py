"""The stand-in for a person's World App: takes a request from the bridge, has the World prove it, and answers.

It knows the simulator's own bridge alone, and has one credential, proof_of_human.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from evanesce_plugins.worldid.encoding import hash_to_field, number
from evanesce_plugins.worldid.rp_signature import RpContext
from evanesce_plugins.worldid.simulator import envelope, results
from evanesce_plugins.worldid.simulator.asked import Asked, Kind, SessionId
from evanesce_plugins.worldid.simulator.bridge import Bridge
from evanesce_plugins.worldid.simulator.forms import Forms
from evanesce_plugins.worldid.simulator.proofs import PROOF_OF_HUMAN, action_number
from evanesce_plugins.worldid.simulator.world import Proven, Refused, World

_NEW_SESSION = "create"


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One credential that is asked for; `signal` is bytes, as `0x` and digits."""

    identifier: str
    issuer_schema_id: int
    signal: str | None = None
    expires_at_min: int | None = None


class _ProofRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked by the protocol of World ID 4.0; `action` is its number."""

    id: str
    rp_id: str
    nonce: str
    created_at: int
    expires_at: int
    signature: str
    proof_requests: list[_Item]
    action: str | None = None
    session_id: str | None = None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What IDKit 4.3.0 leaves at the bridge; `signal` is the hash that a proof of World ID 3.0 is to have."""

    app_id: str
    signal: str
    proof_request: _ProofRequest
    action: str = ""
    allow_legacy_proofs: bool = False
    environment: str = "production"


class BadLink(Exception):
    """This is no link of a request that this phone can answer."""


@dataclass(frozen=True, slots=True)
class _Link:
    key: str
    secret: bytes

    @classmethod
    def parse(cls, uri: str) -> _Link:
        try:
            fields = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
            secret = envelope.read_base64(fields.get("k", ""))
        except ValueError:
            raise BadLink("this is no link of IDKit's") from None
        if fields.get("t") != "wld" or "i" not in fields or len(secret) != envelope.KEY_BYTES:
            raise BadLink("this is no link of IDKit's")
        # IDKit leaves it out where it is World's own bridge.
        if "b" not in fields:
            raise BadLink("this request lies on World's own bridge: give bridge_url to IDKit")
        return cls(fields["i"], secret)


class Phone:
    """Answers in the name of whoever is said to hold it."""

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._bridge = bridge
        self._forms = Forms()

    def scan(self, person: str, uri: str, *, reject: bool = False, legacy: bool = False) -> str | None:
        """Answer the request of a link, by a proof (of World ID 3.0 if `legacy`), or with `reject` by a refusal.

        Gives None for a proof, and for an error its code, as IDKit gives it to the page. Raises `BadLink`.
        """
        link = _Link.parse(uri)
        request = self._bridge.take(link.key)
        if request is None:
            raise BadLink("this request is not there: it was taken before, or has run out")
        try:
            message = envelope.unseal(link.secret, request)
        except ValueError:
            raise BadLink("the link's key does not open this request") from None
        code: str | None = None
        try:
            if reject:
                raise Refused("user_rejected")
            response = self._prove(person, message, legacy=legacy)
        except Refused as refused:
            code = refused.code
            response = {"error_code": code}
        if self._bridge.answer(link.key, envelope.seal(link.secret, msgspec.json.encode(response))) != 201:
            raise BadLink("this request has run out")
        return code

    def _prove(self, person: str, message: bytes, *, legacy: bool) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(message, type=_Request)
            asked = _asked(request)
        except (msgspec.DecodeError, ValueError):
            raise Refused("malformed_request") from None
        if legacy:
            made = self._world.prove_legacy(person, asked)
            return {
                "proof": f"0x{made.proof.hex()}",
                "merkle_root": f"0x{made.root:064x}",
                "nullifier_hash": self._forms.write(made.statement.nullifier),
                "verification_level": results.LEGACY_IDENTIFIER,
            }
        return {"proof_response": _response(request.proof_request.id, self._world.prove(person, asked))}


def _asked(request: _Request) -> Asked:
    """Read a request. Raises `ValueError` for a malformed one, `Refused` for what nobody here can prove."""
    wanted = request.proof_request
    # How several credentials are chosen from does not matter where there is one.
    if [(item.identifier, item.issuer_schema_id) for item in wanted.proof_requests] != [
        (results.IDENTIFIER, PROOF_OF_HUMAN)
    ]:
        raise Refused("credential_unavailable")
    [item] = wanted.proof_requests
    kind, session = Kind.UNIQUENESS, None
    if wanted.session_id == _NEW_SESSION:
        kind = Kind.CREATE_SESSION
    elif wanted.session_id is not None:
        kind, session = Kind.PROVE_SESSION, SessionId.parse(wanted.session_id)
    elif wanted.action is None or number(wanted.action) != action_number(request.action):
        raise ValueError("the action and its number differ")
    number(wanted.nonce)
    signal = None if item.signal is None else bytes.fromhex(item.signal.removeprefix("0x"))
    return Asked(
        kind=kind,
        app_id=request.app_id,
        environment=request.environment,
        context=RpContext(
            rp_id=wanted.rp_id,
            nonce=wanted.nonce,
            created_at=wanted.created_at,
            expires_at=wanted.expires_at,
            signature=wanted.signature,
        ),
        action=request.action if kind is Kind.UNIQUENESS else None,
        session=session,
        signal_hash=0 if signal is None else int.from_bytes(hash_to_field(signal), "big"),
        legacy_signal_hash=number(request.signal),
        expires_at_min=wanted.created_at if item.expires_at_min is None else item.expires_at_min,
        legacy_allowed=request.allow_legacy_proofs,
    )


def _response(request_id: str, proven: Proven) -> dict[str, Any]:
    """Write a proof as the protocol does, in the JSON of which IDKit makes its result."""
    statement = proven.statement
    item: dict[str, Any] = {
        "identifier": results.IDENTIFIER,
        "issuer_schema_id": statement.issuer_schema_id,
        "proof": "".join(f"{part:064x}" for part in proven.proof),
        "expires_at_min": statement.expires_at_min,
    }
    response: dict[str, Any] = {"id": request_id, "version": 1, "responses": [item]}
    if proven.session is None:
        item["nullifier"] = f"nil_{statement.nullifier:064x}"
    else:
        item["session_nullifier"] = f"snil_{statement.nullifier:064x}{statement.action:064x}"
        response["session_id"] = str(proven.session)
    return response
