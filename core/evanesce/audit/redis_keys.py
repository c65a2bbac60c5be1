"""The keys of Redis: which of the audit's messages are still in memory, and which keys hold a canary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.places import CouldNotLook, Finding, Look, Phase, Verdict
from evanesce.audit.redis_nodes import Asker, RedisNode, flat, text
from evanesce.audit.traces import Traces
from evanesce.store.redis.keys import Keys

MOST_KEYS = 200_000
"""How many keys of one Redis are read at most, for one look."""

PAGE = 500
"""How many keys are asked for at once."""

MOST_ELEMENTS = 10_000
"""How many elements of one list, sorted set or stream are read at most."""

REPLICA_SECONDS = 2.0
"""How long a replica may take to have what its primary had."""

_READ: dict[str, Callable[[str], tuple[str | int, ...]]] = {
    "string": lambda key: ("GET", key),
    "hash": lambda key: ("HGETALL", key),
    "list": lambda key: ("LRANGE", key, 0, MOST_ELEMENTS),
    "set": lambda key: ("SMEMBERS", key),
    "zset": lambda key: ("ZRANGE", key, 0, MOST_ELEMENTS),
    "stream": lambda key: ("XRANGE", key, "-", "+", "COUNT", MOST_ELEMENTS + 1),
}

_RANGES = ("LRANGE", "ZRANGE", "XRANGE")
"""The commands that read the first elements only."""


class ExpiredKeys:
    """A place: the keys of the audit's messages on a primary, which must be gone from memory after their end.

    Any command that looks at a key erases it if it has expired, SCAN and RANDOMKEY included; `DBSIZE` alone counts keys
    without touching them. So it is asked before and after a command that touches the keys of the audit's messages, in
    one transaction, in which nothing else can change the number: the difference is how many of them were still there.
    """

    def __init__(self, node: RedisNode, keys: Keys, traces: Traces) -> None:
        self._node = node
        self._keys = keys
        self._traces = traces
        self.name = f"expired keys of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        traces = self._traces
        names = [self._keys.message(traces.room_id, one) for one in (*traces.sent, *traces.unsent)]
        unseen: list[str] = []
        before, types, after, importing = self._node.asked(lambda redis: self._count(redis, names, unseen))
        alive = sum(one != b"none" for one in types)
        note = f"{before} keys by DBSIZE, {alive} messages of the audit"
        if phase is Phase.BEFORE:
            there = [Finding(str(Kind.SENT), "messages in their own keys", alive, Verdict.EXPECTED)] if alive else []
            return Look(there, unseen, note)
        kept = before - after
        findings = [
            Finding(str(Kind.SENT), "keys that have expired and were not erased", kept, Verdict.LEAK),
            Finding(str(Kind.SENT), "messages that live longer than their end", alive, Verdict.LEAK),
            Finding("import-mode", "with this setting Redis erases no expired keys", int(importing), Verdict.LEAK),
        ]
        return Look([one for one in findings if one.count], unseen, note)

    @staticmethod
    def _count(redis: Asker, names: Sequence[str], unseen: list[str]) -> tuple[int, Sequence[bytes], int, bool]:
        commands = [("DBSIZE",), *(("TYPE", name) for name in names), ("DBSIZE",)]
        *_, answers = redis.all(("MULTI",), *commands, ("EXEC",))
        before, *types, after = answers
        mode: Any = None
        try:
            mode = redis.known("CONFIG", "GET", "import-mode")  # of Valkey from 8.1 on
        except CouldNotLook as error:
            unseen.append(f"the setting import-mode: {error}")
        return before, types, after, mode is not None and mode[1:] == [b"yes"]


class KeySpace:
    """A place: all keys of one Redis that can be read, with their names and values, in the configured database.

    A message may be in its own key until its end, unless content is `encrypted`, and names in keys of their room until
    the accounts are erased.
    """

    def __init__(
        self, canaries: Canaries, node: RedisNode, keys: Keys, traces: Traces, *, encrypted: bool = False
    ) -> None:
        self._encrypted = encrypted
        self._canaries = canaries
        self._node = node
        self._keys = keys
        self._traces = traces
        self.name = f"keys of {node.label}"

    def look(self, phase: Phase) -> Look:
        """See `Place.look`."""
        if self._node.primary is not None:
            self._wait_for_replica(self._node.primary)
        findings, unseen, count = self._node.asked(lambda redis: self._walk(redis, phase))
        return Look(findings, unseen, f"{count} keys")

    def _walk(self, redis: Asker, phase: Phase) -> tuple[list[Finding], list[str], int]:
        redis.prepare("CLIENT", "NO-TOUCH", "on")  # without it keys seem to be in use
        if self._node.primary is not None:
            redis.prepare("READONLY")  # in a cluster, a replica answers only then
        findings: list[Finding] = []
        unseen: Counter[str] = Counter()
        cursor, count = "0", 0
        while True:
            answer = redis.ask("SCAN", cursor, "COUNT", PAGE)
            cursor, names = text(answer[0]), list(answer[1])
            count += len(names)
            for name, value in self._values(redis, names, unseen):
                found = self._canaries.search(name + b" " + value)
                findings += self._judged(text(name), found, phase)
            if cursor == "0" or count >= MOST_KEYS:
                told = [f"{number} {what}" for what, number in unseen.items()]
                return findings, told if cursor == "0" else [*told, f"there are more than {MOST_KEYS} keys"], count

    @staticmethod
    def _values(redis: Asker, names: Sequence[bytes], unseen: Counter[str]) -> list[tuple[bytes, bytes]]:
        types = redis.tried(*(("TYPE", text(name)) for name in names)) if names else []
        commands: list[tuple[bytes, tuple[str | int, ...]]] = []
        for name, kind in zip(names, types, strict=True):
            if kind is None:
                unseen["keys that the user of redis.url may not read"] += 1
            elif text(kind) in _READ:
                commands.append((name, _READ[text(kind)](text(name))))
            elif kind != b"none":  # it has expired meanwhile
                unseen[f"keys of the type {text(kind)}"] += 1
        values = redis.tried(*(command for _, command in commands)) if commands else []
        found: list[tuple[bytes, bytes]] = []
        for (name, command), value in zip(commands, values, strict=True):
            if command[0] in _RANGES and value is not None and len(value) > MOST_ELEMENTS:
                unseen[f"keys with more than {MOST_ELEMENTS} elements"] += 1
            found.append((name, b"" if value is None else flat(value)))
        return found

    def _judged(self, name: str, found: Counter[Kind], phase: Phase) -> list[Finding]:
        traces = self._traces
        own = {self._keys.message(traces.room_id, message_id) for message_id in traces.sent}
        findings: list[Finding] = []
        for kind, count in found.items():
            in_room = f"{{{traces.room_id}}}" in name and phase is not Phase.FORGOTTEN
            expected = (
                (kind is Kind.SENT and name in own and phase is Phase.BEFORE and not self._encrypted)
                or (kind is Kind.NAME and name in own and phase is Phase.BEFORE)
                or (kind is Kind.NAME and in_room and ":message:" not in name)
            )
            findings.append(
                Finding(str(kind), self._canaries.masked(name), count, Verdict.EXPECTED if expected else Verdict.LEAK)
            )
        return findings

    def _wait_for_replica(self, primary: RedisNode) -> None:
        """Wait until the replica has what its primary has now: then its memory has the same keys.

        The primary of a replica's replica is the one from which both have their data. A replica shows no expired keys,
        even where it still has them. Raises `CouldNotLook` where it is far behind.
        """
        while primary.primary is not None:
            primary = primary.primary
        wanted = int(primary.asked(lambda redis: redis.info("replication"))["master_repl_offset"])
        end = time.monotonic() + REPLICA_SECONDS
        while int(self._node.asked(lambda redis: redis.info("replication")).get("slave_repl_offset", 0)) < wanted:
            if time.monotonic() >= end:
                raise CouldNotLook(f"this replica is more than {REPLICA_SECONDS:g} s behind its primary")
            time.sleep(0.05)  # nothing tells of it
