"""The two ceremonies of WebAuthn: what a client is asked for, and whether what it sends answers that.

The methods that verify may take some tens of milliseconds for what was made to be slow: they are called in a worker
thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from fido2 import cbor
from fido2.cose import ES256, RS256, CoseKey, EdDSA
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    Aaguid,
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed
from evanesce_plugins.passkey.settings import RelyingParty

ALGORITHMS = (ES256.ALGORITHM, EdDSA.ALGORITHM, RS256.ALGORITHM)
"""The algorithms of keys, the preferred one first."""

CREDENTIAL_BYTES = 1_023
"""The longest id of a key (WebAuthn, section 4, "Credential ID")."""

KEY_BYTES = 1_024
"""The longest public key: one of RSA with 4,096 bits has about 530."""

EXPONENT_BYTES = 8
"""The longest exponent of an RSA key. With a longer one, a signature can be made to take long to verify."""

# The library writes the ids of keys into lines of the levels INFO and DEBUG.
logging.getLogger("fido2").setLevel(logging.WARNING)

Result = TypeVar("Result")

_cbor: Any = cbor  # annotated only in part, as CoseKey is


def _text(most: int) -> Meta:
    """Return the bounds of a text in base64url."""
    return Meta(pattern=r"^[A-Za-z0-9_-]+\Z", max_length=most, description="base64url")


class Response(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The `response` of a key, in JSON (WebAuthn, sections 5.2.1 and 5.2.2), with base64url for bytes.

    A new key has an `attestationObject`: one with the statement of a TPM has about 6 KiB, and here it has 8 KiB at
    most. A key that signs in has the three others.
    """

    client_data: Annotated[str, _text(4_096)] = msgspec.field(name="clientDataJSON")
    attestation_object: Annotated[str, _text(11_000)] | None = msgspec.field(name="attestationObject", default=None)
    authenticator_data: Annotated[str, _text(2_048)] | None = msgspec.field(name="authenticatorData", default=None)
    signature: Annotated[str, _text(1_024)] | None = None
    user_handle: Annotated[str, _text(86)] | None = msgspec.field(name="userHandle", default=None)


class PublicKeyCredential(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """What `PublicKeyCredential.toJSON()` returns in a browser, without what is not used here."""

    id: Annotated[str, _text(1_364)]
    response: Response


class NewKey(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """A key that a device has made: its id and its public key in COSE's form, in base64url, and its counter."""

    credential: str
    public_key: str
    counter: int


class Ceremonies:
    """Asks for keys of a relying party, and verifies them."""

    def __init__(self, party: RelyingParty, seconds: int) -> None:
        self._party = party
        self._verification = (
            UserVerificationRequirement.REQUIRED if party.verifies_users else UserVerificationRequirement.PREFERRED
        )
        self._server: Any = Fido2Server(  # annotated only in part
            PublicKeyCredentialRpEntity(id=party.id, name=party.name),
            attestation=AttestationConveyancePreference.NONE,
            verify_origin=lambda origin: origin == party.origin,
        )
        self._milliseconds = seconds * 1000
        self._server.allowed_algorithms = [
            PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=algorithm)
            for algorithm in ALGORITHMS
        ]

    def creation_options(
        self, challenge: bytes, account_code: str, display_name: str, known: Sequence[str]
    ) -> dict[str, Any]:
        """Return the options for a new key of an account, on a device that has none of the `known` ones, as JSON."""
        user = PublicKeyCredentialUserEntity(id=account_code.encode(), name=display_name, display_name=display_name)
        options, _ = self._server.register_begin(
            user,
            _descriptors(known),
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=self._verification,
            challenge=challenge,
        )
        return self._as_json(dict(options.public_key))

    def request_options(self, challenge: bytes, known: Sequence[str]) -> dict[str, Any]:
        """Return the options for signing in by one of the `known` keys, or by any where there are none, as JSON."""
        options, _ = self._server.authenticate_begin(
            _descriptors(known) if known else None, user_verification=self._verification, challenge=challenge
        )
        return self._as_json(dict(options.public_key))

    def verify_new_key(self, given: PublicKeyCredential, challenge: bytes) -> NewKey:
        """Return the key of a response. Raises `AuthFailed` for one that does not answer the challenge."""

        def verify() -> NewKey:
            registered = RegistrationResponse.from_dict(_mapping(given))
            self._check_frame(registered.response.client_data.cross_origin)
            created = self._server.register_complete(self._state(challenge), registered)
            key = created.credential_data
            if key is None or key.credential_id != registered.raw_id:
                raise ValueError("the response has another key than it says")
            public_key = _cbor.encode(key.public_key)
            if not key.credential_id or len(key.credential_id) > CREDENTIAL_BYTES or len(public_key) > KEY_BYTES:
                raise ValueError("the key or its id is too long")
            _check_key(key.public_key)
            return NewKey(
                credential=websafe_encode(key.credential_id),
                public_key=websafe_encode(public_key),
                counter=created.counter,
            )

        return _decided(verify)

    def verify_assertion(self, given: PublicKeyCredential, public_key: str, challenge: bytes) -> int:
        """Return the signature counter of a response. Raises `AuthFailed` if the key has not signed the challenge."""

        def verify() -> int:
            asserted = AuthenticationResponse.from_dict(_mapping(given))
            self._check_frame(asserted.response.client_data.cross_origin)
            key = AttestedCredentialData.create(
                Aaguid.NONE, asserted.raw_id, CoseKey.parse(_cbor.decode(websafe_decode(public_key)))
            )
            self._server.authenticate_complete(self._state(challenge), [key], asserted)
            return asserted.response.authenticator_data.counter

        return _decided(verify)

    def _as_json(self, options: object) -> dict[str, Any]:
        """Return options without the types of the library."""
        return {**json.loads(json.dumps(options)), "timeout": self._milliseconds}

    def _state(self, challenge: bytes) -> dict[str, Any]:
        """Return what the library wants to know of the options of a challenge."""
        return {"challenge": websafe_encode(challenge), "user_verification": self._verification}

    @staticmethod
    def _check_frame(cross_origin: object) -> None:
        """Raise `ValueError` for a response that was made in a frame within another server's page."""
        if cross_origin is not False:
            raise ValueError("the response is from a frame within another page")


def decoded(text: str) -> bytes:
    """Return the bytes of a text in base64url. Raises `AuthFailed` for a text that has none."""
    return _decided(lambda: websafe_decode(text))


def _mapping(given: PublicKeyCredential) -> dict[str, Any]:
    """Return a credential as the library reads it."""
    return {"rawId": given.id, "response": msgspec.to_builtins(given.response)}


def _check_key(key: Any) -> None:
    """Raise an exception for a public key by which nobody could sign in later."""
    if key.get(3) not in ALGORITHMS:
        raise ValueError("the key is of another algorithm than was asked for")
    if key[3] == RS256.ALGORITHM and len(key[-2]) > EXPONENT_BYTES:
        raise ValueError("the exponent of the key is too long")
    try:
        key.verify(b"", b"")
    except InvalidSignature:
        return  # as it should: the key could be read
    raise ValueError("the key accepts an empty signature")


def _decided(verify: Callable[[], Result]) -> Result:
    """Return what `verify` returns. Raises `AuthFailed` for any exception.

    Neither the library nor what it is built on says which exceptions bytes of any form may cause.
    """
    try:
        return verify()
    except Exception:
        raise AuthFailed("This passkey does not answer the request of this server. Start again.") from None


def _descriptors(credentials: Sequence[str]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=websafe_decode(credential))
        for credential in credentials
    ]
