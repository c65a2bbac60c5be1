"""The checks of Redis for `evanesce check`: whether it can be used, and whether it would keep content."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import trio
from redis.exceptions import NoPermissionError

from evanesce.errors import StoreUnavailable
from evanesce.store.health import CheckResult, Severity
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.connection import BROKEN, Address, refused
from evanesce.store.redis.faults import Fault, classify
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.probe import Probe, new_room, rooms_everywhere
from evanesce.store.redis.rights import Missing, missing
from evanesce.store.redis.settings_check import PERSISTENCE, SETTINGS, Server, ask, unseen
from evanesce.store.redis.topology import Node
from evanesce.store.redis.unreachable import why

REDIS, RIGHTS, MESSAGE = "redis", "redis rights", "redis message"
"""The parts of the report that are examined here."""

ATTEMPTS = 200_000
"""How many room names are tried, so that each primary gets one even if it has a single slot. This takes a second."""

_WELL = {
    REDIS: "",
    RIGHTS: "the user has all rights that the server needs",
    MESSAGE: "one was followed, stored, received, read and erased",
    PERSISTENCE: "nothing is kept on disk",
    SETTINGS: "no problem found",
}


async def check(client: NodeClient | ClusterClient, keys: Keys, probe: Probe) -> list[CheckResult]:
    """Try to connect, each right, and a test message, and examine the settings; in a cluster on each primary."""
    addresses: Mapping[Node | None, Address] = dict(
        [(None, client.address)] if isinstance(client, NodeClient) else client.addresses.items()
    )
    clients: Mapping[Node | None, NodeClient] = dict(
        [(None, client)] if isinstance(client, NodeClient) else client.clients.items()
    )
    rooms = rooms_everywhere(client, keys, ATTEMPTS)
    reports = {node: _Report(node) for node in addresses}
    async with trio.open_nursery() as nursery:
        for node, address in addresses.items():
            room_id = rooms.get(node) or new_room()
            nursery.start_soon(_try_one, reports[node], address, clients.get(node), keys, probe, room_id)
    if isinstance(client, ClusterClient) and client.uncovered and clients:
        next(iter(reports.values())).results.append(
            CheckResult(
                SETTINGS,
                Severity.WARN,
                f"{client.uncovered} slots of the cluster have no primary: the rooms in them cannot be used",
                "Assign all slots to primaries.",
            )
        )
    return _summed_up(list(reports.values()))


class _Report:
    """The findings for one Redis, or for one node of a cluster."""

    def __init__(self, node: Node | None) -> None:
        self.where = "" if node is None else f"{node.host}:{node.port} "
        self.name = ""
        self.results: list[CheckResult] = []
        self.examined: set[str] = set()

    def fail(self, part: str, text: str, advice: str = "") -> None:
        self.results.append(CheckResult(part, Severity.FAIL, text, advice))


async def _try_one(
    report: _Report, address: Address, client: NodeClient | None, keys: Keys, probe: Probe, room_id: str
) -> None:
    clustered = report.where != ""
    report.examined.add(REDIS)
    found = await trio.to_thread.run_sync(
        partial(_reach, address, keys, room_id, clustered=clustered),
        abandon_on_cancel=True,
        thread_name="evanesce-check",
    )
    if isinstance(found, Fault):
        report.fail(REDIS, *found)
        return
    if client is None:  # it is only a configured node: no topology could be read
        report.fail(
            REDIS,
            "this node answers, and the cluster has no primary with slots",
            "Complete the cluster: see CLUSTER INFO and CLUSTER SLOTS on its nodes.",
        )
        return
    report.examined |= {RIGHTS, MESSAGE, PERSISTENCE}
    if any(found):
        report.fail(RIGHTS, *_describe(found, keys))
    await _look(report, client, clustered=clustered)
    try:
        await probe.message(room_id)
    except StoreUnavailable as error:
        report.fail(MESSAGE, error.message, error.advice)


def _reach(address: Address, keys: Keys, room_id: str, *, clustered: bool) -> Missing | Fault:
    """Connect, and try every right. Blocks."""
    try:
        connection = address.connection()
        try:
            connection.connect()
            # Only one command: the error with which a server ends the connection would be lost if more were sent.
            refusal = refused(connection.exchange([("PING",)]))
            if refusal is not None and not isinstance(refusal, NoPermissionError):
                return classify(refusal)
            return missing(connection, keys, room_id, clustered=clustered)
        finally:
            connection.close()
    except BROKEN as error:
        return why(address, error)


def _describe(found: Missing, keys: Keys) -> tuple[str, str]:
    """Return which rights the user lacks, and the rules that grant them."""
    rules = [f"+{command}" for command in found.commands]
    problems = [f"may not run {', '.join(found.commands).upper().replace('|', ' ')}"] if found.commands else []
    if found.keys:
        problems.append(f"may not read and write the keys {', '.join(found.keys)}")
        rules.append(f"~{keys.pattern}")
    if found.channels:
        problems.append(f"may not use the channels {', '.join(found.channels)}")
        rules.append(f"&{keys.pattern}")
    return f"the user {'; '.join(problems)}", f"Grant it: ACL SETUSER USER {' '.join(rules)}"


async def _look(report: _Report, client: NodeClient, *, clustered: bool) -> None:
    try:
        server: Server = await ask(client)
    except StoreUnavailable as error:
        report.results.append(unseen(error, client))
        return
    report.name = server.name
    if server.tells_settings:
        report.examined.add(SETTINGS)
    if server.is_replica:
        report.fail(REDIS, "this is a replica, which accepts no messages", "Name its primary in redis.url.")
    report.results += [*await server.persistence(), *server.others(clustered=clustered)]


def _summed_up(reports: list[_Report]) -> list[CheckResult]:
    """Return all findings, with the name of their node, and one for each part without problems."""
    findings: list[CheckResult] = []
    for part, well in _WELL.items():
        problems = [
            CheckResult(part, one.severity, report.where + one.text, one.advice)
            for report in reports
            for one in report.results
            if one.part == part
        ]
        findings += problems
        if not problems and any(part in report.examined for report in reports):
            names = "; ".join(f"{report.where}{report.name or 'a Redis'} answers" for report in reports)
            findings.append(CheckResult(part, Severity.OK, well or names))
    return findings
