"""One audit, from the first canary to the erasure of its accounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trio

from evanesce.audit import deployment
from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.conversation import AuditFailed, Conversation
from evanesce.audit.deployment import Unseen
from evanesce.audit.places import Phase, Verdict
from evanesce.audit.schedule import LooksAfterEnd, Record, Result, look_at_all, look_until_gone
from evanesce.audit.traces import Traces
from evanesce.config.model import Config
from evanesce.config.public import public_address
from evanesce.errors import PersistenceUnavailable
from evanesce.interfaces import Repository, Transport
from evanesce.webaddress import WebAddress, is_unix

DATABASE_SECONDS = 10.0
"""How long the database may take to tell what it is."""


async def audit(
    config: Config,
    repository: Repository,
    transports: Mapping[str, Transport],
    folder: Path,
    token: str | None,
    told: Callable[[str], None],
) -> Result:
    """Audit the running deployment that has this configuration. `folder` is its working folder.

    `token` is that of an account, for a server without guests. `told` is called with what happens at present, in words
    that hold no canary. Takes the TTL of messages and some 15 s. Raises `AuditFailed`, and `ConfigurationError` for a
    database that cannot be that of a server.
    """
    canaries, traces, since, result = Canaries(), Traces(), time.time(), Result()
    found = await trio.to_thread.run_sync(deployment.find, config, _ports(transports), abandon_on_cancel=True)
    file = await _database_file(repository, found)
    url = websocket_url(public_address(config))
    async with Conversation.open(url, canaries, traces, token) as conversation:
        told(f"sending canaries through {url}")
        await conversation.send_all()
        places = deployment.places(config, found, file, folder, canaries, traces, since)
        told("looking before the end of the messages, and 0.5 s, 1 s and 10 s after it")
        async with trio.open_nursery() as nursery:
            timed = LooksAfterEnd(places, traces.ends)
            nursery.start_soon(timed.run)
            before = await look_at_all(places, Phase.BEFORE, traces.ends)
            _refuse_another_redis(before, traces)
        result.records += [*before, *timed.records]
        told("erasing the accounts of the audit")
        if await conversation.forget():
            result.records += await look_until_gone(places, result.records, traces.ends)
    result.skipped = [*traces.skipped, *_other_database(before)]
    return result


def websocket_url(address: WebAddress) -> str:
    """Return the WebSocket address of a server with this public address."""
    scheme = "wss" if address.scheme == "https" else "ws"
    return f"{scheme}://{address.authority}{address.path}/ws"


def _ports(transports: Mapping[str, Transport]) -> Sequence[int]:
    binds = [bind for transport in transports.values() for bind in transport.binds if not is_unix(bind)]
    return [int(port) for bind in binds if (port := bind.rpartition(":")[2]).isdecimal() and int(port)]


async def _database_file(repository: Repository, found: deployment.Deployment) -> Path | None:
    """Return the file of the database; None if it is not a file of this machine, or cannot be asked."""
    try:
        with trio.fail_after(DATABASE_SECONDS):
            return (await repository.inspect()).file
    except (PersistenceUnavailable, trio.TooSlowError):
        found.unseen.append(Unseen("the server of the database", "it does not answer"))
        return None


def _refuse_another_redis(before: Sequence[Record], traces: Traces) -> None:
    """Raise `AuditFailed` where live messages are not in the Redis that was looked at: it is not that of the server."""
    looked = [record for record in before if record.place.startswith("expired keys of ") and not record.look.unseen]
    seen = any(
        finding.what == Kind.SENT and finding.verdict is Verdict.EXPECTED
        for record in looked
        for finding in record.look.findings
    )
    if looked and not seen and trio.current_time() < traces.ends:
        raise AuditFailed(
            "the messages of the audit are not in the Redis of this configuration, so the server has another one."
            " Give the audit the configuration, the environment and the working folder of the running server"
        )


def _other_database(before: Sequence[Record]) -> list[str]:
    """Return a reason to doubt the look at the database: the names of the audit were not there."""
    for record in before:
        if record.place == "database" and not record.look.unseen and not record.look.findings:
            return ["the erasure of names: they were not found in the database of this configuration while they lived"]
    return []
