"""`evanesce audit` against real servers: what it finds, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.patience import undisturbed
from tests.ports import free_port

SECONDS = 240.0
TTL = "messages.ttl=2"


def audit(
    folder: Path, *arguments: str, settings: list[str] | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVANESCE")}
    options = [word for setting in settings or [] for word in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "evanesce", "audit", *arguments, *options],
        cwd=folder,
        env={**inherited, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def leaks(report: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the places where something was found that must not be there, with what it was."""
    return {
        (look["place"], finding["what"])
        for look in report["looks"]
        for finding in look["findings"]
        if finding["verdict"] == "leak"
    }


async def clean_audit(server: Server, *arguments: str) -> dict[str, Any]:
    """Audit a server, and return the report, in which nothing may be found that must not be there."""
    report: dict[str, Any] = {}

    async def act() -> None:
        done = await trio.to_thread.run_sync(
            partial(audit, server.folder, "--json", *arguments, settings=server.settings)
        )
        report.update(report_of(done))
        assert leaks(report) == set()
        assert (done.returncode, done.stderr, report["ok"], report["skipped"]) == (0, "", True, [])

    await undisturbed(act)  # a server that gets no CPU time erases later
    return report


@pytest.mark.slow
async def test_a_clean_deployment(serve: Callable[..., Server]) -> None:
    server = serve(TTL)
    report = await clean_audit(server)
    assert report["ttl"] == 2

    at: dict[str, list[float]] = {}
    for look in report["looks"]:
        at.setdefault(look["phase"], []).append(look["at"])
    assert list(at) == ["before", "end+0.5", "end+1", "end+10", "erased"]
    assert at["before"][0] < 0
    assert min(at["end+0.5"]) >= 0.5
    assert min(at["end+1"]) >= 1
    assert min(at["end+10"]) >= 10

    assert server.process is not None
    pid, (redis, _) = server.process.pid, server.valkey()
    found = {look["place"]: look for look in report["looks"] if look["phase"] == "before"}
    assert set(found) == {
        *(f"{kind} of the embedded Valkey" for kind in ("expired keys", "keys", "command logs", "clients", "files")),
        *(f"{kind} of server {pid}" for kind in ("log", "open files", "memory")),
        *(f"{kind} of Redis {redis}" for kind in ("log", "open files", "memory")),
        *("database", "core files", "working folders", "temporary folders"),
    }
    kept = {finding["what"] for finding in found["keys of the embedded Valkey"]["findings"]}
    assert kept == {"sent", "name"}
    assert {finding["what"] for finding in found["database"]["findings"]} == {"name", "mail address"}
    assert {"sent", "name"} <= {finding["what"] for finding in found[f"memory of Redis {redis}"]["findings"]}


@pytest.mark.slow
async def test_no_memory_has_content_or_erased_names_where_content_is_encrypted(serve: Callable[..., Server]) -> None:
    server = serve(TTL, "messages.encrypt_at_rest=true")
    report = await clean_audit(server)
    account = {"name", "mail address"}
    redis = [look for look in report["looks"] if look["place"].startswith(("keys of ", "memory of Redis "))]
    assert redis
    assert {finding["what"] for look in redis for finding in look["findings"]} <= account, "it never had any"
    late = [look for look in report["looks"] if look["phase"] == "end+10" and look["place"].startswith("memory of ")]
    assert len(late) == 2
    assert {finding["what"] for look in late for finding in look["findings"]} <= account
    erased = [look for look in report["looks"] if look["phase"] == "erased" and look["place"].startswith("memory of ")]
    assert len(erased) == 2
    assert [finding for look in erased for finding in look["findings"]] == [], "nothing refers to the names any more"


# Not slow, so that the quick tests run the whole command once.
def test_its_accounts_and_its_room_are_erased(serve: Callable[..., Server]) -> None:
    server = serve(TTL)
    done = audit(server.folder, settings=server.settings)
    assert done.returncode == 0, done.stdout
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as database:
        users = database.execute('SELECT "worldId", "displayName", "email" FROM "User"').fetchall()
        rooms = database.execute('SELECT "closedAt" FROM "ChatRoom"').fetchall()
    assert set(users) <= {(None, "", None)}  # the server deletes rows of erased guests when it next cleans up
    assert [closed is not None for (closed,) in rooms] == [True]


@pytest.mark.slow
def test_the_table_and_what_is_told_meanwhile_hold_no_canary(serve: Callable[..., Server]) -> None:
    server = serve(TTL)
    done = audit(server.folder, "--strict", settings=server.settings)
    lines = done.stdout.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == [
        *("place", "before the end", "end + 0.5 s", "end + 1 s", "end + 10 s", "account erased")
    ]
    copies = int(re.findall(r"(\d+) copies are left in freed memory|FAIL (\d+) copies", lines[-1])[0][0] or 1)
    assert done.returncode == int(copies > 0), lines[-1]
    assert all(line.startswith("evanesce audit: ") for line in done.stderr.splitlines())
    assert not re.search(r"q[0-9a-f]{24}", done.stdout + done.stderr + server.errors)


@pytest.mark.slow
def test_an_outside_redis_with_an_append_only_file(serve_shared: Callable[..., Server], valkey: Valkey) -> None:
    server = serve_shared(TTL)
    valkey.client.config_set("appendonly", "yes")
    done = audit(server.folder, "--json", settings=server.settings)
    assert done.returncode == 1
    found = leaks(report_of(done))
    assert {("files of Redis", "appendonly"), ("files of Redis", "sent")} <= found
    assert not any(place.startswith(("keys", "expired", "log", "database")) for place, _ in found)


@pytest.mark.slow
async def test_two_workers_are_looked_at_each(serve: Callable[..., Server]) -> None:
    server = serve(TTL, "server.workers=2", f"server.secret={'s' * 32}")
    report = await clean_audit(server)
    places = {look["place"] for look in report["looks"]}
    assert {f"memory of server {pid}" for pid in server.workers().values()} <= places
    assert server.process is not None
    assert f"memory of supervisor {server.process.pid}" in places


@pytest.mark.slow
def test_with_a_token_the_account_stays(serve: Callable[..., Server]) -> None:
    server = serve(TTL)
    account = server.sign_in("Owner")
    done = audit(server.folder, "--json", settings=server.settings, environ={"EVANESCE_TOKEN": account["token"]})
    report = report_of(done)
    assert done.returncode == 0
    assert any(
        told.startswith("names and mail addresses of the account in EVANESCE_TOKEN") for told in report["skipped"]
    )
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute('SELECT "displayName" FROM "User"')]
    assert set(names) - {""} == {"Owner"}


# What prevents an audit: one line, exit code 2


def refused(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_server(tmp_path: Path) -> None:
    port = free_port()
    settings = [f"plugins.quart.bind=127.0.0.1:{port}"]
    refused(audit(tmp_path, settings=settings), f"cannot reach ws://127.0.0.1:{port}/ws: Connection refused")
    done = audit(tmp_path, "--json", settings=settings)
    refused(done, "Start the server, or correct server.public_url")
    assert report_of(done)["error"].startswith("cannot reach ")


@pytest.mark.slow
def test_the_configuration_of_another_redis(serve: Callable[..., Server], valkey: Valkey) -> None:
    server = serve("messages.ttl=20")
    other = [*server.settings, f"redis.url={valkey.url}", f"server.secret={'s' * 32}"]
    refused(
        audit(server.folder, settings=other), "the messages of the audit are not in the Redis of this configuration"
    )


@pytest.mark.slow
def test_a_token_that_is_none(serve: Callable[..., Server]) -> None:
    server = serve(TTL)
    done = audit(server.folder, settings=server.settings, environ={"EVANESCE_TOKEN": "nonsense"})
    refused(done, "the server refuses the token in EVANESCE_TOKEN")


@pytest.mark.slow
def test_a_server_without_guests(serve: Callable[..., Server], tmp_path: Path) -> None:
    site = tmp_path / "site"
    metadata = site / "nobody-1.dist-info"
    metadata.mkdir(parents=True)
    (site / "nobody.py").write_text(
        "from evanesce.hookspecs import hookimpl\n"
        "from evanesce_plugins.guest import GuestAuthenticator\n\n\n"
        "class Renamed(GuestAuthenticator):\n"
        "    provider = 'nobody'\n\n\n"
        "@hookimpl\n"
        "def evanesce_authenticator(setup):\n"
        "    return Renamed(allow_public=False)\n"
    )
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: nobody\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[evanesce.plugins]\nnobody = nobody\n")
    environ = {"PYTHONPATH": str(site)}
    server = serve(TTL, 'plugins.enabled=["nobody", "sqlite", "quart"]', environment=environ)
    done = audit(server.folder, settings=server.settings, environ=environ)
    refused(done, "this server has no sign-in for guests")


# The proof


@pytest.mark.slow
def test_each_fault_is_found_and_named(tmp_path: Path) -> None:
    done = audit(tmp_path, "--faults", "--json")
    report = report_of(done)
    assert {fault["fault"]: fault["ok"] for fault in report["faults"]} == {
        "none, with a log of the level debug": True,
        "an append-only file": True,
        "a log of slow commands": True,
        "a lagging erasure": True,
        "a plugin that logs content": True,
        "a core file": True,
    }, report
    assert (done.returncode, report["ok"], report["version"]) == (0, True, 1)
    assert list(tmp_path.iterdir()) == []
