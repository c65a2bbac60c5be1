"""The report: the JSON object has a fixed form, and the table says the same in words."""

from __future__ import annotations

import json

from evanesce.audit import report
from evanesce.audit.faults import Fault, Proof, Proved
from evanesce.audit.places import Finding, Look, Phase, Verdict
from evanesce.audit.schedule import Record, Result

LEAK = Finding("sent", "/tmp/a\x1bb", 2, Verdict.LEAK)
KEPT = Finding("sent", "k", 1, Verdict.EXPECTED)
COPIES = Finding("sent", "in its memory", 5, Verdict.COUNTED)
RESULT = Result(
    [
        Record(Phase.BEFORE, "keys of Redis", -1.2345, Look([KEPT], note="3 keys")),
        Record(Phase.BEFORE, "working folders", -1.0, Look(unseen=["/x: too many"], note="1 changed files")),
        Record(Phase.BEFORE, "database", -1.0, Look(unseen=["it is not a file of this machine"])),
        Record(Phase.TEN_SECONDS, "keys of Redis", 10.0, Look(note="2 keys")),
        Record(Phase.TEN_SECONDS, "working folders", 10.0, Look([LEAK], note="1 changed files")),
        Record(Phase.TEN_SECONDS, "memory of Redis 7", 10.0, Look([COPIES])),
    ],
    ["a conflict between two people: there is one account only"],
)


def test_the_json_object() -> None:
    told = json.loads(report.as_json(RESULT, ttl=60.0, strict=False))
    looks = told.pop("looks")
    assert told == {
        "version": 1,
        "ok": False,
        "strict": False,
        "ttl": 60.0,
        "kinds": ["sent", "unsent", "rejected", "conflicting", "oversized", "name", "mail address", "typing"],
        "copies": 5,
        "skipped": ["a conflict between two people: there is one account only"],
    }
    assert looks[0] == {
        "phase": "before",
        "at": -1.234,
        "place": "keys of Redis",
        "result": "expected",
        "note": "3 keys",
        "unseen": [],
        "findings": [{"what": "sent", "where": "k", "count": 1, "verdict": "expected"}],
    }
    assert [look["result"] for look in looks] == ["expected", "clean", "unseen", "clean", "leak", "counted"]
    assert [phase.value for phase in Phase] == ["before", "end+0.5", "end+1", "end+10", "erased"]


def test_the_json_object_of_an_audit_that_could_not_be_made() -> None:
    assert json.loads(report.failure_as_json("cannot reach it")) == {
        "version": 1,
        "ok": False,
        "error": "cannot reach it",
    }


def test_the_table() -> None:
    assert list(report.as_table(RESULT, ttl=60.0, strict=False)) == [
        "place             | before the end | end + 10 s",
        "keys of Redis     | expected       | clean",
        "working folders   | clean*         | FOUND 2",
        "database          | not looked at  |",
        "memory of Redis 7 |                | 5 copies",
        "",
        "not looked at:",
        "  working folders: /x: too many",
        "  database: it is not a file of this machine",
        "",
        "not tried:",
        "  a conflict between two people: there is one account only",
        "",
        "found where nothing may be:",
        "  working folders, end + 10 s: sent, 2 times, /tmp/a\\x1bb",
        "",
        "FAIL content or names were found where they must not be;"
        " 5 copies are left in freed memory, which no server can promise to wipe",
    ]


def test_the_table_of_a_clean_deployment() -> None:
    clean = Result(RESULT.records[:1])
    assert list(report.as_table(clean, ttl=60.0, strict=True))[-1] == (
        "ok   nothing was found outside the message's own key, or later than 0.5 s after 60 s; 0 copies are left in"
        " freed memory, which no server can promise to wipe"
    )
    copies = Result(RESULT.records[-1:])
    assert list(report.as_table(copies, ttl=60.0, strict=False))[-1].startswith("ok ")
    assert list(report.as_table(copies, ttl=60.0, strict=True))[-1].startswith("FAIL 5 copies")


def test_the_table_of_faults() -> None:
    found = Proved(Fault("an append-only file", "files of Redis"), ("files of Redis", "working folders"))
    missed = Proved(Fault("a core file", "core files"), ("working folders",))
    failed = Proved(Fault("a slow log", "command logs"), problem="a server does not start")
    clean = Proved(Fault("none", ""))
    assert Proof([found, clean]).ok
    for bad in (missed, failed, Proved(Fault("none", ""), ("database",))):
        assert not Proof([found, bad]).ok
    assert list(Proof([found, missed, failed, clean]).as_table()) == [
        "fault               | result | found by",
        "an append-only file | ok     | files of Redis, working folders",
        "a core file         | FAIL   | working folders",
        "a slow log          | FAIL   | a server does not start",
        "none                | ok     | nothing",
    ]
    assert json.loads(Proof([missed]).as_json()) == {
        "version": 1,
        "ok": False,
        "faults": [
            {
                "fault": "a core file",
                "expected": "core files",
                "foundBy": ["working folders"],
                "problem": "",
                "ok": False,
            }
        ],
    }
