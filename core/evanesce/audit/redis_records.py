"""What Redis keeps of commands and clients, and what it writes to disk."""

from __future__ import annotations

from pathlib import Path

from evanesce.audit.canaries import Canaries
from evanesce.audit.folders import Folders
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict, leaks
from evanesce.audit.redis_nodes import Asker, RedisNode, flat

_COMMAND_LOGS = ("slow", "large-request", "large-reply")


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
        logs = {"SLOWLOG": flat(redis.ask("SLOWLOG", "GET", -1))}
        for kind in _COMMAND_LOGS:  # of Valkey from 8.1 on
            if (entries := redis.known("COMMANDLOG", "GET", -1, kind)) is not None:
                logs[f"COMMANDLOG {kind}"] = flat(entries)
        if (entries := redis.known("ACL", "LOG")) is not None:
            logs["ACL LOG"] = flat(entries)
        findings = [one for name, data in logs.items() for one in leaks(self._canaries.search(data), name)]
        return Look(findings, note=", ".join(logs))


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


class RedisFiles:
    """A place: snapshots and append-only files of one Redis. A setting that writes them is a finding as well."""

    def __init__(self, canaries: Canaries, node: RedisNode, since: float) -> None:
        self._canaries = canaries
        self._node = node
        self._since = since
        self.name = f"files of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        settings = self._node.asked(lambda redis: redis.settings("save", "appendonly", "dir"))
        findings = [
            Finding(name, f'{name} is "{settings[name]}": Redis writes content to disk', 1, Verdict.LEAK)
            for name, off in (("save", ""), ("appendonly", "no"))
            if settings.get(name, off) != off
        ]
        folder = settings.get("dir")
        if self._node.process is None or not folder:
            if findings:
                return Look(findings, ("its folder, which is not on this machine, or is another user's",))
            raise CouldNotLook(
                "it runs on another machine, or as another user: by its settings it writes no files, but earlier ones"
                " were not looked for"
            )
        files = Folders(self._canaries, self.name, [Path(folder)], (), self._since).look(phase)
        return Look([*findings, *files.findings], files.unseen, f"{folder}: {files.note}")
