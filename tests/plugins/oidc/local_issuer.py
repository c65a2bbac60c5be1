"""An issuer of OpenID Connect over real HTTP, which does as a test wants: also what an honest one never does."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import h11
import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from evanesce_plugins.oidc.settings import OidcSettings

CLIENT = "chat"
DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"
TOKEN = "/token"

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())

Fields = dict[str, Any]


def public(key: Any, **more: Any) -> Fields:
    """Return the public key as a JSON Web Key."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", **more}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]


class LocalIssuer:
    """The issuer at `url`. What it publishes and answers can be changed at any time.

    `answers` are whole responses in place of its own, by path; None never answers.
    """

    def __init__(self) -> None:
        self.url = ""
        self.signing: dict[str, PrivateKeyTypes] = {"first": RSA_KEY, "curve": EC_KEY}
        self.published: list[Any] = [public(RSA_KEY, kid="first"), public(EC_KEY, kid="curve")]
        self.discovered: Fields = {}
        self.answers: dict[str, bytes | None] = {}
        self.asked: list[Asked] = []
        self.secret: str | None = None
        self.down = False
        self._codes: dict[str, tuple[str, str]] = {}

    def settings(self, **changes: Any) -> OidcSettings:
        return OidcSettings(**{"issuer": self.url, "client_id": CLIENT, "timeout": 12.0} | changes)

    def claims(self, nonce: str, person: str = "ada", /, **changes: Any) -> Fields:
        """Return what a good token says, with changes; those to None are left out."""
        now = int(time.time())
        said = {"iss": self.url, "sub": person, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": nonce}
        return {name: value for name, value in (said | changes).items() if value is not None}

    def token(self, nonce: str, person: str = "ada", /, *, kid: str = "first", **changes: Any) -> str:
        key = self.signing[kid]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        said = json.dumps(self.claims(nonce, person, **changes)).encode()  # `jwt.encode` refuses some mistakes
        return jwt.PyJWS().encode(said, key, algorithm, {"kid": kid})  # type: ignore[arg-type]

    def code(self, token: str, verifier: str) -> str:
        """Return a code that its client exchanges for a token, with the verifier of PKCE."""
        code = secrets.token_urlsafe(16)
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        self._codes[code] = (token, challenge)
        return code

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(asked.path == path for asked in self.asked)

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == DISCOVERY:
            return 200, {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": self.url + TOKEN,
                "jwks_uri": self.url + KEYS,
            } | self.discovered
        if asked.path == KEYS:
            return 200, {"keys": self.published}
        if asked.path == TOKEN:
            return self._exchange(asked)
        return 404, {"error": "not_found"}

    def _exchange(self, asked: Asked) -> tuple[int, Any]:
        form = asked.form
        if self.secret is not None:
            basic = b64decode(asked.headers.get("authorization", "").removeprefix("Basic ")).decode()
            posted = f"{form.get('client_id')}:{form.get('client_secret')}"
            if f"{CLIENT}:{self.secret}" not in (unquote_plus(basic), posted):
                return 401, {"error": "invalid_client"}
        elif form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        token, challenge = self._codes.pop(form["code"], ("", ""))
        verified = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if not token or verified != challenge or not form["redirect_uri"].endswith("/oidc/callback"):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):  # a server that was cancelled has left
            await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection, body = h11.Connection(h11.SERVER), b""
        head: h11.Request | None = None
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if head is None or self.down:
                return
            headers = {name.decode(): value.decode() for name, value in head.headers}
            asked = Asked(head.method.decode(), head.target.decode(), headers, dict(parse_qsl(body.decode())))
            self.asked.append(asked)
            scripted = self.answers.get(asked.path, b"")
            if scripted is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(scripted or response(*self._answer(asked)))


def response(status: int, body: Any, *headers: str) -> bytes:
    """Return a whole response, with `body` as it is, or as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = (f"HTTP/1.1 {status} Whatever", "Connection: close", f"Content-Length: {len(content)}", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + content


@asynccontextmanager
async def local_issuer() -> AsyncIterator[LocalIssuer]:
    issuer = LocalIssuer()
    async with trio.open_nursery() as nursery:
        await start(issuer, nursery)
        yield issuer
        nursery.cancel_scope.cancel()


async def start(issuer: LocalIssuer, nursery: trio.Nursery) -> None:
    """Let an issuer answer, until the nursery is cancelled."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    issuer.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    nursery.start_soon(trio.serve_listeners, issuer.serve, [listener])
