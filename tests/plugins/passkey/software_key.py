"""A device with a passkey, in software: it answers as an authenticator and a browser do, or as an attacker would."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cbor
from fido2.cose import ES256, RS256, EdDSA

ORIGIN = "https://chat.example"
RP_ID = "chat.example"

UP, UV, AT, ED = 0x01, 0x04, 0x40, 0x80


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SoftwareKey:
    """A key of one account. `counter` grows with each signature unless it is None: then it is always 0.

    What differs from an honest answer is an attribute or an argument: `flags`, `origin`, `rp_id`, and `client`, fields
    of the client data.
    """

    def __init__(self, algorithm: str = "ES256", *, counter: int | None = None) -> None:
        self.credential_id = secrets.token_bytes(32)
        self.handle: bytes | None = None
        self.counter = counter
        self.algorithm = algorithm
        self._private: Any
        match algorithm:
            case "ES256":
                self._private = ec.generate_private_key(ec.SECP256R1())
                self.cose: Mapping[Any, Any] = ES256.from_cryptography_key(self._private.public_key())
            case "EdDSA":
                self._private = ed25519.Ed25519PrivateKey.generate()
                self.cose = EdDSA.from_cryptography_key(self._private.public_key())
            case "RS256":
                self._private = rsa.generate_private_key(65537, 2048)
                self.cose = RS256.from_cryptography_key(self._private.public_key())
            case _:
                raise AssertionError(algorithm)

    @property
    def id(self) -> str:
        return encoded(self.credential_id)

    def create(
        self,
        options: Mapping[str, Any],
        *,
        flags: int = UP | UV | AT,
        origin: str = ORIGIN,
        rp_id: str = RP_ID,
        statement: Mapping[str, Any] | None = None,
        attestation: bytes | None = None,
        client: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the response with a new key. `attestation` replaces the attestation object."""
        self.handle = decoded(options["user"]["id"])
        credential = (
            bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor.encode(self.cose)
        )
        data = self._data(flags, rp_id) + (credential if flags & AT else b"")
        whole = cbor.encode({"fmt": "packed" if statement else "none", "attStmt": statement or {}, "authData": data})
        response = {
            "clientDataJSON": encoded(self._client("webauthn.create", options, origin, client)),
            "attestationObject": encoded(whole if attestation is None else attestation),
        }
        return {"id": self.id, "rawId": self.id, "type": "public-key", "response": response}

    def get(
        self,
        options: Mapping[str, Any],
        *,
        flags: int = UP | UV,
        origin: str = ORIGIN,
        rp_id: str = RP_ID,
        client: Mapping[str, Any] | None = None,
        **response: Any,
    ) -> dict[str, Any]:
        """Return the response of a sign-in. `response` replaces fields of it."""
        data = self._data(flags, rp_id)
        client_data = self._client("webauthn.get", options, origin, client)
        answer = {
            "clientDataJSON": encoded(client_data),
            "authenticatorData": encoded(data),
            "signature": encoded(self.sign(data + hashlib.sha256(client_data).digest())),
        }
        if self.handle is not None:
            answer["userHandle"] = encoded(self.handle)
        return {"id": self.id, "rawId": self.id, "type": "public-key", "response": answer | response}

    def sign(self, message: bytes) -> bytes:
        match self.algorithm:
            case "ES256":
                signature: bytes = self._private.sign(message, ec.ECDSA(hashes.SHA256()))
            case "EdDSA":
                signature = self._private.sign(message)
            case _:
                signature = self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return signature

    def _data(self, flags: int, rp_id: str) -> bytes:
        if self.counter is not None:
            self.counter += 1
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + (self.counter or 0).to_bytes(4, "big")

    @staticmethod
    def _client(kind: str, options: Mapping[str, Any], origin: str, changed: Mapping[str, Any] | None) -> bytes:
        fields = {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
        return json.dumps(fields | dict(changed or {})).encode()
