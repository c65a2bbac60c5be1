"""The proof of an audit: deployments with one fault each, which the audit has to find and to name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from evanesce.audit.conversation import AuditFailed
from evanesce.audit.processes import Process, embedded_redis
from evanesce.audit.report import VERSION
from evanesce.audit.throwaway import Throwaway, logging_server, throwaway_settings, until, valkey
from evanesce.store.redis.connection import BROKEN, Address

AUDIT_SECONDS = 180.0
"""How long one audit may take."""

AT_ONCE = 2
"""How many deployments run at the same time."""

_PLUGIN = """
import logging
from evanesce.hookspecs import hookimpl

evanesce_sees_content = True

@hookimpl
async def evanesce_filter_message(draft):
    logging.getLogger(__name__).warning("a message: %s", draft.content)
"""
_PLUGIN_NAME = "evanesce_audit_fault"


@dataclass
class Fault:
    """A fault: `expected` begins the name of the place that has to find it, or is empty where nothing may be found.

    `redis` are options of a Valkey of its own; None: the embedded one. `prepare` is called with its URL before the
    server starts. `during` runs beside the audit.
    """

    title: str
    expected: str
    redis: Sequence[str] | None = None
    plugin: bool = False
    prepare: Callable[[str], None] | None = None
    during: Callable[[Throwaway], Awaitable[None]] | None = None


@dataclass
class Proved:
    """What the audit of a deployment with a fault has found: `places` where something was found, or a `problem`."""

    fault: Fault
    places: Sequence[str] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the fault was found, or nothing where there is no fault."""
        if self.problem:
            return False
        if not self.fault.expected:
            return not self.places
        return any(place.startswith(self.fault.expected) for place in self.places)


@dataclass
class Proof:
    """All faults, in order."""

    proved: list[Proved] = field(default_factory=list[Proved])

    @property
    def ok(self) -> bool:
        """Whether the audit has found all faults."""
        return all(one.ok for one in self.proved)

    def as_json(self) -> str:
        """Return the JSON object: docs/reference/audit.md describes it."""
        faults: list[dict[str, Any]] = [
            {
                "fault": one.fault.title,
                "expected": one.fault.expected,
                "foundBy": list(one.places),
                "problem": one.problem,
                "ok": one.ok,
            }
            for one in self.proved
        ]
        return json.dumps({"version": VERSION, "ok": self.ok, "faults": faults})

    def as_table(self) -> Iterator[str]:
        """Return the lines of a table."""
        width = max(len(one.fault.title) for one in self.proved)
        yield f"{'fault'.ljust(width)} | result | found by"
        for one in self.proved:
            found = one.problem or ", ".join(one.places) or "nothing"
            yield f"{one.fault.title.ljust(width)} | {'ok' if one.ok else 'FAIL':<6} | {found}"


async def prove(told: Callable[[str], None]) -> Proof:
    """Audit a deployment without a fault, and one with each fault. `told` is called with what is begun.

    Raises `ConfigurationError` where there is no embedded Valkey for this platform. Takes some minutes.
    """
    results: dict[str, Proved] = {}
    limit = trio.Semaphore(AT_ONCE)

    async def one(fault: Fault) -> None:
        async with limit:
            told(f"a deployment with the fault: {fault.title}" if fault.expected else "a deployment without a fault")
            try:
                results[fault.title] = await _prove(fault)
            except* (AuditFailed, OSError, trio.TooSlowError) as errors:
                problem = str(errors.exceptions[0]) or f"no end within {AUDIT_SECONDS:g} s"
                results[fault.title] = Proved(fault, problem=problem)

    async with trio.open_nursery() as nursery:
        for fault in FAULTS:
            nursery.start_soon(one, fault)
    return Proof([results[fault.title] for fault in FAULTS])


async def _prove(fault: Fault) -> Proved:
    with tempfile.TemporaryDirectory(prefix="evanesce-audit-") as name, trio.fail_after(AUDIT_SECONDS):
        folder = Path(name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EVANESCE_")}
        # What other programs do in their temporary folder is not of interest here, and may be much.
        environment["TMPDIR"] = str(folder / "tmp")
        (folder / "tmp").mkdir()
        async with valkey(folder, fault.redis) as url:
            if fault.prepare is not None:
                fault.prepare(url)
            settings = throwaway_settings(url)
            if fault.plugin:
                _install_plugin(folder / "site")
                environment["PYTHONPATH"] = os.pathsep.join(
                    filter(None, [str(folder / "site"), environment.get("PYTHONPATH", "")])
                )
                settings["plugins.enabled"] = json.dumps(["guest", "sqlite", "quart", _PLUGIN_NAME])
            options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
            async with logging_server(folder, options, environment), trio.open_nursery() as nursery:
                if fault.during is not None:
                    port = int(settings["plugins.quart.bind"].rpartition(":")[2])
                    nursery.start_soon(fault.during, Throwaway(folder, port))
                report = await _audit(folder, options, environment)
                nursery.cancel_scope.cancel()
    if "looks" not in report:
        return Proved(fault, problem=str(report.get("error", "the audit printed no report")))
    return Proved(fault, tuple(dict.fromkeys(one["place"] for one in report["looks"] if one["result"] == "leak")))


async def _audit(folder: Path, options: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run `evanesce audit --json`, and return its report; empty if it printed none."""
    command = [sys.executable, "-m", "evanesce", "audit", "--json", *options]
    done = await trio.run_process(
        command, cwd=folder, env=environment, capture_stdout=True, stderr=subprocess.DEVNULL, check=False
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {}
    return report


# Faults


def _install_plugin(site: Path) -> None:
    """Write a plugin that logs content, as pip would install it."""
    metadata = site / f"{_PLUGIN_NAME}-1.dist-info"
    metadata.mkdir(parents=True)
    (site / f"{_PLUGIN_NAME}.py").write_text(_PLUGIN)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_PLUGIN_NAME}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[evanesce.plugins]\n{_PLUGIN_NAME} = {_PLUGIN_NAME}\n")


def _erase_nothing(url: str) -> None:
    """Stop Valkey's own erasure of expired keys."""
    connection = Address(url).connection()
    try:
        connection.connect()
        connection.exchange([("DEBUG", "SET-ACTIVE-EXPIRE", 0)])
    finally:
        connection.close()


async def _dump_core(target: Throwaway) -> None:
    """Write a core file of the embedded Valkey into the working folder while it holds messages."""
    found = embedded_redis(target.processes())
    if found is None:
        raise AuditFailed("the embedded Valkey of a deployment was not found")
    process, path = found
    connection = Address(f"unix://{path}").connection()
    try:
        connection.connect()
        await until(lambda: _has_messages(connection), "no message was sent")
    finally:
        connection.close()
    await trio.to_thread.run_sync(write_core_file, process, target.folder / f"core.{process.pid}")


def _has_messages(connection: Any) -> bool:
    try:
        [answer] = connection.exchange([("KEYS", "*:message:*")])
    except BROKEN:
        return False
    return bool(answer)


def write_core_file(process: Process, file: Path) -> None:
    """Write the memory of a process as a core file: the head of one, and all that can be read."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + (4).to_bytes(2, "little")
    with file.open("wb") as core, open(process.folder / "mem", "rb", buffering=0) as memory:
        core.write(head.ljust(64, b"\0"))
        for line in (process.folder / "maps").read_text("utf-8", "replace").splitlines():
            span, rights = line.split()[:2]
            start, end = (int(place, 16) for place in span.split("-"))
            if not rights.startswith("rw"):
                continue
            try:
                core.write(os.pread(memory.fileno(), end - start, start))
            except OSError:  # of a device
                continue


_WITHOUT_EXISTS = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-exists")  # by which servers erase keys

FAULTS = (
    Fault("none, with a log of the level debug", ""),
    Fault("an append-only file", "files of Redis", redis=("--save", "", "--appendonly", "yes")),
    Fault(
        "a log of slow commands",
        "command logs of Redis",
        redis=("--save", "", "--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000"),
    ),
    Fault(
        "a lagging erasure",
        "expired keys of Redis",
        redis=("--save", "", "--enable-debug-command", "yes", *_WITHOUT_EXISTS),
        prepare=_erase_nothing,
    ),
    Fault("a plugin that logs content", "log of server", plugin=True),
    Fault("a core file", "core files", during=_dump_core),
)
"""The faults of `evanesce audit --faults`, and a deployment without one."""
