"""What Redis keeps of commands and clients, and what it writes to disk."""

from __future__ import annotations

import os
from collections.abc import Sequence

from evanesce.audit.canaries import Canaries
from evanesce.audit.folders import Folders
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict, leaks
from evanesce.audit.redis_nodes import Asker, RedisNode, flat
from evanesce.store.redis.settings_check import ON_DISK, kept_on_disk

_COMMAND_LOGS: dict[str, tuple[str | int, ...]] = {
    "SLOWLOG": ("SLOWLOG", "GET", -1),
    # Valkey has these from 8.1 on.
    "COMMANDLOG slow": ("COMMANDLOG", "GET", -1, "slow"),
    "COMMANDLOG large-request": ("COMMANDLOG", "GET", -1, "large-request"),
    "COMMANDLOG large-reply": ("COMMANDLOG", "GET", -1, "large-reply"),
    "ACL LOG": ("ACL", "LOG"),
}


class CommandLogs:
    """A place: the logs of slow, large and refused commands of one Redis, which keep their arguments."""

    def __init__(self, canaries: Canaries, node: RedisNode) -> None:
        self._canaries = canaries
        self._node = node
        self.name = f"command logs of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        return self._node.asked(self._read)

    def _read(self, redis: Asker) -> Look:
        logs: dict[str, bytes] = {}
        unseen: list[str] = []
        for name, command in _COMMAND_LOGS.items():
            try:
                entries = (redis.known if command[0] == "COMMANDLOG" else redis.ask)(*command)
            except CouldNotLook as error:
                unseen.append(f"{name}: {error}")
            else:
                if entries is not None:
                    logs[name] = flat(entries)
        if not logs:
            raise CouldNotLook("; ".join(unseen))
        findings = [one for name, data in logs.items() for one in leaks(self._canaries.search(data), name)]
        return Look(findings, unseen, ", ".join(logs))


class ClientList:
    """A place: what one Redis tells of its clients."""

    def __init__(self, canaries: Canaries, node: RedisNode) -> None:
        self._canaries = canaries
        self._node = node
        self.name = f"clients of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        listed: bytes = self._node.asked(lambda redis: flat(redis.ask("CLIENT", "LIST")))
        return Look(list(leaks(self._canaries.search(listed), "CLIENT LIST")), note=f"{listed.count(b'id=')} clients")


ELSEWHERE = "it runs on another machine, in another container or as another user. Run the audit there, as root"
"""Why what belongs to a Redis cannot be looked at from here."""

_NAMES = ("dbfilename", "appendfilename", "appenddirname", "logfile")
"""The settings with the names of what Redis writes to its folder: `appenddirname` has none before version 7."""


class RedisFiles:
    """A place: snapshots, append-only files and the log of one Redis.

    A setting by which it writes content is a finding as well.
    """

    def __init__(self, canaries: Canaries, node: RedisNode, since: float) -> None:
        self._canaries = canaries
        self._node = node
        self._since = since
        self.name = f"files of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        settings, replication = self._node.asked(
            lambda redis: (redis.settings(*ON_DISK, *_NAMES, "dir"), redis.info("replication"))
        )
        replicated = self._node.primary is not None or replication.get("connected_slaves", "0") != "0"
        findings = [
            Finding(told.partition(":")[0], told, 1, Verdict.LEAK)
            for told, _ in kept_on_disk(settings, {}, replicated=replicated)
        ]
        folder = settings.get("dir", "")
        listed = ", ".join(filter(None, (settings.get(name) for name in _NAMES)))
        missing = f"{listed} in {folder or 'its folder'}, and what it writes there temporarily"
        if self._node.process is None:
            return self._unseen(findings, f"{missing}: {ELSEWHERE}")
        here, log = (self._node.process.path(os.path.join(folder, name)) for name in ("", settings.get("logfile", "")))
        try:
            os.scandir(here).close()
        except OSError as error:
            reason = f"{missing}: this user may not read that folder ({error.strerror}). Run the audit as root"
            return self._unseen(findings, reason)
        files = Folders(self._canaries, self.name, [here, log], (), self._since).look(phase)
        return Look([*findings, *files.findings], files.unseen, f"{folder}: {files.note}")

    @staticmethod
    def _unseen(findings: Sequence[Finding], reason: str) -> Look:
        if findings:
            return Look(findings, [reason])
        raise CouldNotLook(f"{reason}. By its settings it writes none, but earlier ones were not looked for")
