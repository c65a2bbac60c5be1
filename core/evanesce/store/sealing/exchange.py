"""How servers share their keys: each tells its public key, and gets the keys of the others encrypted for it.

Two kinds of notices, in JSON, with a MAC whose key follows from `server.secret`. Of several secrets, the first one
makes it, and those of all are accepted:

- a *greeting* has the public key of a server (X25519), the name of its own chain, and those of all chains that it has;
- an *offer* has chains, encrypted with AES-256-GCM under a key that follows from the private key of one server, the
  public key of the other, and the secret of the MAC.

Private keys are made at the start and again at every `renew`, and are never stored. So nobody who gets `server.secret`
afterwards can decrypt an offer that was recorded (forward secrecy).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evanesce.store.sealing.keyring import CHAINS, EXPORT_BYTES, Keyring, chain_name

NOTICE_BYTES = 32 * 1024
"""The size of the largest notice that is read."""

PEERS = 200
"""How many other servers are known at most; further ones get no keys."""

OFFERED = 200
"""How many chains are in one offer at most. The others follow when the next greeting names those."""

SILENT_SECONDS = 30.0
"""After how long without a greeting a server counts as ended."""

_AUTHENTICATE = b"evanesce: authenticity of key notices, version 1"
_ENCRYPT = b"evanesce: encryption of offered keys, version 1"


class _Greeting(msgspec.Struct, frozen=True, tag="greeting"):
    server: str
    public: bytes
    own: str
    chains: list[str]


class _Offer(msgspec.Struct, frozen=True, tag="offer"):
    server: str
    to: str
    public: bytes
    to_public: bytes
    sealed: bytes


class _Signed(msgspec.Struct, frozen=True):
    notice: bytes
    mac: bytes


class _Peer(NamedTuple):
    public: bytes
    own: str
    heard_at: float


_signed = msgspec.json.Decoder(_Signed)
_notice = msgspec.json.Decoder(_Greeting | _Offer)


class Replies(NamedTuple):
    """What a notice asks for: offers to publish at once, and whether to greet."""

    offers: Sequence[bytes] = ()
    greet: bool = False


class KeyExchange:
    """Shares the chains of a keyring with the other servers that know `secret`. `server` is this server's name.

    Notices of servers that use one of the secrets `accepted` are accepted as well.
    """

    def __init__(self, keyring: Keyring, secret: str, server: str, *, accepted: Sequence[str] = ()) -> None:
        self._keyring = keyring
        self._server = server
        self._mac_keys = [_derive(one.encode(), b"", _AUTHENTICATE) for one in (secret, *accepted)]
        self._private = X25519PrivateKey.generate()
        self._previous: X25519PrivateKey | None = None  # for offers that are under way
        self._peers: dict[str, _Peer] = {}
        self._refused: dict[str, float] = {}  # the chains that could not be taken, and when

    @property
    def peers(self) -> int:
        """How many other servers have told their public key."""
        return len(self._peers)

    def renew(self) -> None:
        """Replace the private key. Greet afterwards."""
        self._previous, self._private = self._private, X25519PrivateKey.generate()

    def offer_own(self) -> Sequence[bytes]:
        """Return offers of the own chain to all servers that are known. Publish them before anything is encrypted."""
        return [self._offer(server, [self._keyring.own]) for server in self._peers]

    def greeting(self) -> bytes:
        """Return the greeting of this server."""
        names = [self._keyring.own, *(name for name in self._keyring.known if name != self._keyring.own)]
        return self._sign(_Greeting(self._server, _public(self._private), self._keyring.own, names))

    def forget_silent(self, now: float) -> None:
        """Forget the servers that have not greeted for `SILENT_SECONDS`. `now` is in seconds of any clock."""
        for server, peer in list(self._peers.items()):
            if now - peer.heard_at > SILENT_SECONDS:
                del self._peers[server]
                self._keyring.retire(peer.own)

    def receive(self, payload: bytes, now: float) -> Replies:
        """Read a notice; return what it asks for. Raises `ValueError` where it is none of a server."""
        if len(payload) > NOTICE_BYTES:
            raise ValueError("a key notice is too large")
        try:
            signed = _signed.decode(payload)
            mac_key = self._mac_key_of(signed)
            notice = _notice.decode(signed.notice)
        except (msgspec.MsgspecError, RecursionError):
            raise ValueError("a key notice is malformed") from None
        if notice.server == self._server:
            return Replies()
        if isinstance(notice, _Greeting):
            return self._greeted(notice, now)
        self._offered(notice, mac_key, now)
        return Replies()

    def _greeted(self, greeting: _Greeting, now: float) -> Replies:
        known = self._peers.get(greeting.server)
        if known is None and len(self._peers) >= PEERS:
            raise ValueError("there are too many servers")
        if known is None or known.public != greeting.public:
            self._key(
                self._private, greeting.public, self._mac_keys[0]
            )  # it raises `ValueError` where this is no public key
        if known is not None and known.own != greeting.own:
            self._keyring.retire(known.own)
        self._peers[greeting.server] = _Peer(greeting.public, greeting.own, now)
        self._keyring.use(greeting.own)
        there = set(greeting.chains)
        missing = [name for name in self._keyring.known if name not in there][:OFFERED]
        new = known is None or known.public != greeting.public
        return Replies(
            [self._offer(greeting.server, missing)] if missing else [],
            greet=new or any(self._wants(name, now) for name in there),
        )

    def _wants(self, name: str, now: float) -> bool:
        """Return whether to ask for a chain: not again and again for one that cannot be taken."""
        refused_at = self._refused.get(name, -SILENT_SECONDS)
        return name not in self._keyring.known and not self._keyring.full and now - refused_at >= SILENT_SECONDS

    def _offered(self, offer: _Offer, mac_key: bytes, now: float) -> None:
        if offer.to != self._server:
            return
        for private in (self._private, self._previous):
            if private is not None and _public(private) == offer.to_public:
                break
        else:
            return  # for a key that was replaced: the greeting with the new one is under way
        try:
            chains = AESGCM(self._key(private, offer.public, mac_key)).decrypt(
                offer.sealed[:12], offer.sealed[12:], _names(offer.server, offer.to)
            )
        except InvalidTag:
            raise ValueError("an offer of keys cannot be decrypted") from None
        for start in range(0, len(chains), EXPORT_BYTES):
            exported = chains[start : start + EXPORT_BYTES]
            try:
                self._keyring.take(exported)
            except ValueError:  # of another time, or too many: the others may be of use
                if len(self._refused) >= CHAINS:
                    self._refused.clear()
                self._refused[chain_name(exported)] = now
        for peer in self._peers.values():
            self._keyring.use(peer.own)

    def _offer(self, to: str, chains: Sequence[str]) -> bytes:
        nonce = os.urandom(12)
        cipher = AESGCM(self._key(self._private, self._peers[to].public, self._mac_keys[0]))
        exported = b"".join(self._keyring.export(name) for name in chains)
        sealed = nonce + cipher.encrypt(nonce, exported, _names(self._server, to))
        return self._sign(_Offer(self._server, to, _public(self._private), self._peers[to].public, sealed))

    def _key(self, private: X25519PrivateKey, public: bytes, mac_key: bytes) -> bytes:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        both = b"".join(sorted([_public(private), public]))
        return _derive(shared, mac_key, _ENCRYPT + both)

    def _sign(self, notice: _Greeting | _Offer) -> bytes:
        text = msgspec.json.encode(notice)
        return msgspec.json.encode(_Signed(text, _mac(self._mac_keys[0], text)))

    def _mac_key_of(self, signed: _Signed) -> bytes:
        """Return the key of a notice's MAC, which its offers are encrypted with as well."""
        for mac_key in self._mac_keys:
            if hmac.compare_digest(signed.mac, _mac(mac_key, signed.notice)):
                return mac_key
        raise ValueError("a key notice is of a server with another secret")


def _public(private: X25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def _names(server: str, to: str) -> bytes:
    return f"{server}\n{to}".encode()
