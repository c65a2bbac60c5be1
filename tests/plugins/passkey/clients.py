"""Clients of a server with the plugin `passkey`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from evanesce.testing.client import MemoryClient
from evanesce.testing.plugins import PluginServer, plugin_server
from evanesce_plugins.passkey import PasskeyPlugin
from tests.plugins.passkey.software_key import ORIGIN, SoftwareKey

LIMITS = {"sign_ins_per_minute": 10_000, "commands_before_hello": 1_000, "connections_per_user": 100}


@asynccontextmanager
async def passkey_server(
    settings: Mapping[str, Any] | None = None, *, beside: PluginServer | None = None
) -> AsyncGenerator[PluginServer, None]:
    """Run a server whose people sign in by passkeys."""
    config = {"server": {"public_url": ORIGIN}, "limits": LIMITS, "plugins": {"passkey": settings or {}}}
    async with plugin_server({"passkey": PasskeyPlugin()}, config=config, beside=beside) as server:
        yield server


async def ask(server: PluginServer, purpose: str, *, by: MemoryClient | None = None, **fields: Any) -> dict[str, Any]:
    """Return a challenge."""
    client = server.connect() if by is None else by
    return await client.command("challenge", provider="passkey", purpose=purpose, **fields)


async def send(
    server: PluginServer,
    challenge: Mapping[str, Any],
    passkey: Mapping[str, Any],
    *,
    by: str | None = None,
    **fields: Any,
) -> MemoryClient:
    """Answer a challenge on a new connection, signed in by the token `by`, if there is one; return the client."""
    client = server.connect(bearer=by)
    if by is not None:
        await client.command("hello")
    credential = {"provider": "passkey", "challengeId": challenge["challengeId"], "passkey": passkey}
    await client.sign_in(credential | fields)
    return client


async def sign_up(server: PluginServer, key: SoftwareKey, name: str = "Ada", **fields: Any) -> MemoryClient:
    """Create an account with a key."""
    challenge = await ask(server, "sign_up", displayName=name)
    return await send(server, challenge, key.create(challenge["publicKey"]), **fields)


async def sign_in(server: PluginServer, key: SoftwareKey) -> MemoryClient:
    """Sign in by a key."""
    challenge = await ask(server, "sign_in")
    return await send(server, challenge, key.get(challenge["publicKey"]))


async def add_device(server: PluginServer, by: MemoryClient, key: SoftwareKey, **fields: Any) -> MemoryClient:
    """Add a key to the account of a client, and return the client of the new sign-in."""
    challenge = await ask(server, "add_device", by=by)
    return await send(server, challenge, key.create(challenge["publicKey"]), by=by.token, **fields)


async def recover(server: PluginServer, code: str) -> MemoryClient:
    """Sign in by a recovery code."""
    client = server.connect()
    await client.sign_in({"provider": "passkey", "recoveryCode": code})
    return client


async def get(server: PluginServer, by: MemoryClient | None) -> dict[str, Any]:
    """Return what the server says about the devices of a client's account."""
    response = await server.http("GET", "/passkey/devices", by=by)
    return {"status": response.status, **msgspec.json.decode(response.body)}


async def post(server: PluginServer, what: str, by: MemoryClient | None, **body: Any) -> dict[str, Any]:
    """Send a change of the devices, and return the answer with its status."""
    path = f"/passkey/{what}"
    response = await server.http("POST", path, by=by, body=msgspec.json.encode(body))
    return {"status": response.status, **msgspec.json.decode(response.body)}
