"""The places of a deployment, found by its own configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evanesce.audit import processes
from evanesce.audit.canaries import Canaries
from evanesce.audit.core_files import CoreFiles
from evanesce.audit.database import COMPANIONS, DatabaseFile
from evanesce.audit.folders import Folders, temporary_folders
from evanesce.audit.memory import ProcessMemory
from evanesce.audit.places import CouldNotLook, Look, Phase, Place
from evanesce.audit.process_files import Logs, OpenFiles, log_files
from evanesce.audit.processes import Process
from evanesce.audit.redis_keys import ExpiredKeys, KeySpace
from evanesce.audit.redis_nodes import RedisNode, lost_replicas, redis_nodes
from evanesce.audit.redis_records import ELSEWHERE, ClientList, CommandLogs, RedisFiles
from evanesce.audit.traces import Traces
from evanesce.config.model import Config
from evanesce.store.redis.keys import Keys

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Unseen:
    """A place that cannot be looked at, for a reason that is known from the beginning."""

    name: str
    reason: str

    def look(self, phase: Phase) -> Look:
        """Raise `CouldNotLook`."""
        raise CouldNotLook(self.reason)


@dataclass
class Deployment:
    """What of a deployment was found: its processes and its Redis servers, and why some were not."""

    processes: Sequence[Process] = ()
    nodes: Sequence[RedisNode] = ()
    unseen: list[Unseen] = field(default_factory=list[Unseen])


def find(config: Config, ports: Sequence[int]) -> Deployment:
    """Find the deployment whose servers listen on `ports`. Blocks for some seconds if its Redis does not answer."""
    found = Deployment(processes.deployment(ports))
    if not found.processes:
        found.unseen.append(Unseen("servers", _missing(ports)))
    embedded = processes.embedded_redis(found.processes)
    try:
        found.nodes = redis_nodes(config.redis, embedded and (embedded[0], str(embedded[1])))
    except CouldNotLook as error:
        found.unseen.append(Unseen("Redis", str(error)))
        return found
    try:
        found.nodes = [*found.nodes, *lost_replicas(config.redis, found.nodes)]
    except CouldNotLook as error:
        found.unseen.append(Unseen("replicas that are not connected to Redis", str(error)))
    return found


def places(
    config: Config,
    found: Deployment,
    database: Path | None,
    folder: Path,
    canaries: Canaries,
    traces: Traces,
    since: float,
) -> list[Place]:
    """Return all places to look at, in the order in which to look.

    `database` is the file of the database; None: it is not a file of this machine. `folder` is the working folder.
    `since` is when the audit began, in seconds since 1970.
    """
    keys = Keys(config.redis.prefix)
    encrypted = config.messages.encrypt_at_rest
    everything = [*found.processes]
    everything += [node.process for node in found.nodes if node.process and node.process.pid not in _ids(everything)]
    logs = log_files(everything)
    files = () if database is None else tuple(database.with_name(database.name + suffix) for suffix in COMPANIONS)
    primaries = [node for node in found.nodes if node.primary is None]
    working = [folder, *(one for process in everything if (one := process.working_folder()) is not None)]
    temporary = temporary_folders(everything)
    outside = [one for one in dict.fromkeys(working) if one not in (*temporary, _ROOT)]
    result: list[Place] = [
        # First, because the commands of the other places replace what is in them.
        *(CommandLogs(canaries, node) for node in found.nodes),
        *(ExpiredKeys(node, keys, traces) for node in primaries if node.has(keys.state(traces.room_id))),
        *(KeySpace(canaries, node, keys, traces, encrypted=encrypted) for node in found.nodes),
        *(ClientList(canaries, node) for node in found.nodes),
        *(RedisFiles(canaries, node, since) for node in found.nodes),
        _database(canaries, database),
        *(Logs(canaries, process, everything, since) for process in everything),
        *(OpenFiles(canaries, process, (*files, *logs), since) for process in everything),
        CoreFiles(canaries, everything, since),
        *(ProcessMemory(canaries, process, unreadable=encrypted and process.role == "Redis") for process in everything),
        *(place for node in found.nodes if node.process is None for place in _elsewhere(node)),
        # Last, because they take longest.
        Folders(canaries, "working folders", outside, (*files, *logs), since),
        Folders(canaries, "temporary folders", temporary, (*files, *logs), since),
        *(_hidden(process) for process in everything if process.working_folder() is None),
        *found.unseen,
        *([_whole_system()] if _ROOT in working else []),
    ]
    return result


def _database(canaries: Canaries, file: Path | None) -> Place:
    if file is not None:
        return DatabaseFile(canaries, file)
    return Unseen(
        "database",
        "it is not a file of this machine. Its operator knows how long its logs and backups keep erased data",
    )


def _elsewhere(node: RedisNode) -> Sequence[Place]:
    """Return the places of a Redis that can be looked at only where it runs."""
    return [Unseen(f"{kind} of {node.label}", ELSEWHERE) for kind in ("log", "open files", "core files", "memory")]


def _hidden(process: Process) -> Place:
    return Unseen(
        f"folders of {process.label}",
        "this user may not see its working folder, and whether it has a temporary folder of its own. Run the audit as"
        " root",
    )


def _whole_system() -> Place:
    return Unseen("working folder /", "it has all files of the system. Start the server in a folder of its own")


def _missing(ports: Sequence[int]) -> str:
    if not processes.SUPPORTED:
        return "processes, their memory, logs and open files can be looked at on Linux only"
    listed = ", ".join(map(str, ports)) or "any port"
    return (
        f"no process that this user may examine listens on {listed}. Run the audit on the machine and as the user of"
        " the server, while it runs"
    )


def _ids(found: Sequence[Process]) -> set[int]:
    return {process.pid for process in found}
