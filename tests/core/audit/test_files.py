"""Folders, open files, logs, core files and the database: each finds a canary that is planted, and nothing else."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from evanesce.audit import folders as folders_module
from evanesce.audit import processes
from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.core_files import CoreFiles
from evanesce.audit.database import DatabaseFile
from evanesce.audit.faults import write_core_file
from evanesce.audit.folders import Folders, temporary_folders
from evanesce.audit.places import CouldNotLook, Finding, Phase, Verdict
from evanesce.audit.process_files import Logs, OpenFiles, log_files
from evanesce.audit.processes import Process
from evanesce.testing.contracts.rows import a_user, at
from tests.core.audit.programs import HOLDS, program, unprivileged
from tests.plugins.conftest import sqlite_repository

NOW = Phase.TEN_SECONDS

WRITES_A_LOG = """
import sys
print(sys.stdin.readline().strip(), file=sys.stderr, flush=True)
print("ready", flush=True)
sys.stdin.read()
"""

HAS_A_DELETED_FILE = """
import os, sys
file = open("scratch", "w+")
file.write(sys.stdin.readline())
file.flush()
os.unlink("scratch")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


def folder(canaries: Canaries, path: Path, *excluded: Path, since: float = 0.0) -> Folders:
    return Folders(canaries, "working folders", [path], excluded, since)


# Folders


def test_a_file_at_any_depth_is_found(canaries: Canaries, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "left.txt").write_text(f"x {canaries.text(Kind.SENT)}")
    (tmp_path / "other.txt").write_text("nothing")
    look = folder(canaries, tmp_path).look(NOW)
    assert look.findings == [Finding("sent", str(deep / "left.txt"), 1, Verdict.LEAK)]
    assert look.unseen == []
    assert look.note.startswith("2 changed files")


def test_a_file_that_has_not_changed_since_the_audit_began_is_not_read(canaries: Canaries, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(canaries.text(Kind.SENT))
    assert folder(canaries, tmp_path, since=time.time() + 3600).look(NOW).note.startswith("0 changed files")
    assert folder(canaries, tmp_path, since=time.time()).look(NOW).findings


def test_what_is_a_place_of_its_own_is_left_out(canaries: Canaries, tmp_path: Path) -> None:
    (tmp_path / "evanesce.db").write_text(canaries.text(Kind.NAME))
    assert folder(canaries, tmp_path, tmp_path / "evanesce.db").look(NOW).findings == []


def test_links_and_pipes_are_not_followed(canaries: Canaries, tmp_path: Path) -> None:
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    (elsewhere / "file").write_text(canaries.text(Kind.SENT))
    (here / "link").symlink_to(elsewhere / "file")
    (here / "folder").symlink_to(elsewhere)
    os.mkfifo(here / "pipe")
    assert folder(canaries, here).look(NOW).findings == []


def test_a_folder_without_end_is_told(canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders_module, "MOST_ENTRIES", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    [unseen] = folder(canaries, tmp_path).look(NOW).unseen
    assert unseen == f"{tmp_path}: it has more than 3 entries"


def test_a_folder_and_a_file_that_are_refused_are_told(canaries: Canaries) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        (top / "closed").mkdir()
        (top / "closed" / "dump.rdb").write_text(canaries.text(Kind.SENT))
        (top / "file").write_text(canaries.text(Kind.SENT))
        for path in ("closed", "file"):
            (top / path).chmod(0)
        with unprivileged():
            look = folder(canaries, top).look(NOW)
            below = folder(canaries, top / "closed" / "deeper").look(NOW)
        (top / "closed").chmod(0o700)
    assert look.findings == []
    assert look.unseen == ["1 files that this user may not read", "1 folders that this user may not read"]
    assert below.unseen == ["1 folders that this user may not read"]


def test_the_files_of_a_container_are_found_by_its_root(
    canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "container"
    (inside / "data").mkdir(parents=True)
    (inside / "data" / "dump.rdb").write_text(canaries.text(Kind.SENT))
    (inside / "tmp").symlink_to("/tmp")  # a folder that both have
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "root").symlink_to(inside)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    process = Process(7, "Redis")
    [finding] = folder(canaries, process.path("/data")).look(NOW).findings
    assert finding.where == str(tmp_path / "7" / "root" / "data" / "dump.rdb")
    assert process.path("/tmp") == Path("/tmp")


def test_a_name_with_a_canary_is_masked(canaries: Canaries, tmp_path: Path) -> None:
    text = canaries.text(Kind.SENT)
    (tmp_path / f"{text}.txt").write_text(text)
    [finding] = folder(canaries, tmp_path).look(NOW).findings
    assert text not in finding.where


def test_the_temporary_folder_of_a_process_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with program(HOLDS) as process:
        assert tmp_path in temporary_folders([process])


# Processes


def test_a_deleted_file_that_is_open_is_found(canaries: Canaries, tmp_path: Path) -> None:
    with program(HAS_A_DELETED_FILE, folder=tmp_path, told=canaries.text(Kind.SENT)) as process:
        assert list(tmp_path.iterdir()) == []
        look = OpenFiles(canaries, process, (), 0.0).look(NOW)
    [finding] = look.findings
    assert finding.where == f"{tmp_path}/scratch (deleted)"


def test_a_log_in_a_file_is_found(canaries: Canaries, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors, program(WRITES_A_LOG, errors=errors, told=canaries.text(Kind.NAME)) as process:
        assert log_files([process]) == [log]
        look = Logs(canaries, process, (), 0.0).look(NOW)
    assert look.findings == [Finding("name", str(log), 1, Verdict.LEAK)]
    [unseen] = look.unseen
    assert unseen.startswith("standard output is a pipe. Search what receives it")


def test_a_log_that_goes_elsewhere_cannot_be_looked_at(canaries: Canaries) -> None:
    with program(HOLDS, errors=subprocess.STDOUT) as process, pytest.raises(CouldNotLook, match="is a pipe"):
        Logs(canaries, process, (), 0.0).look(NOW)


def test_what_a_redis_writes_to_its_server_is_no_log(canaries: Canaries) -> None:
    with program(HOLDS, errors=subprocess.DEVNULL) as process:
        redis, server = Process(process.pid, "Redis"), Process(os.getpid(), "server")
        assert Logs(canaries, redis, [server], 0.0).look(NOW).findings == []


# Core files


async def test_a_core_file_is_found_and_named(canaries: Canaries, tmp_path: Path) -> None:
    with program(HOLDS, "utf-8", folder=tmp_path, told=canaries.text(Kind.SENT)) as process:
        pattern = tmp_path / "pattern"
        pattern.write_text("core\n")
        place = CoreFiles(canaries, [process], 0.0, pattern)
        assert place.look(NOW).findings == []
        write_core_file(process, tmp_path / "core.1")
        (tmp_path / "no core").write_text(canaries.text(Kind.SENT))
        look = place.look(NOW)
    [finding] = look.findings
    assert (finding.what, finding.where) == ("sent", str(tmp_path / "core.1"))


def test_a_core_file_in_another_folder_is_found(canaries: Canaries, tmp_path: Path) -> None:
    (tmp_path / "cores").mkdir()
    (tmp_path / "pattern").write_text(f"{tmp_path}/cores/%e.%p\n")
    with program(HOLDS, "utf-8", told=canaries.text(Kind.SENT)) as process:
        write_core_file(process, tmp_path / "cores" / "python.1")
        look = CoreFiles(canaries, [process], 0.0, tmp_path / "pattern").look(NOW)
    assert [finding.where for finding in look.findings] == [str(tmp_path / "cores" / "python.1")]


def test_a_file_that_may_be_a_core_file_is_told(canaries: Canaries) -> None:
    with tempfile.TemporaryDirectory() as name:
        cores = Path(name)
        cores.chmod(0o755)
        (cores / "core.1").touch(mode=0)
        (cores / "pattern").write_text(f"{cores}/%e\n")
        with unprivileged():
            look = CoreFiles(canaries, [], 0.0, cores / "pattern").look(NOW)
    assert look.unseen == ["1 files that this user may not read"]


def test_core_files_that_a_program_receives_are_told(canaries: Canaries, tmp_path: Path) -> None:
    (tmp_path / "pattern").write_text("|/lib/systemd/systemd-coredump %P\n")
    [unseen] = CoreFiles(canaries, [], 0.0, tmp_path / "pattern").look(NOW).unseen
    assert unseen.startswith("core files are passed to /lib/systemd/systemd-coredump;")


# The database


async def test_names_in_the_database_are_expected_until_the_account_is_erased(
    canaries: Canaries, tmp_path: Path
) -> None:
    place = DatabaseFile(canaries, tmp_path / "evanesce.db")
    name, mail = canaries.text(Kind.NAME), f"{canaries.text(Kind.MAIL)}@example.org"
    async with sqlite_repository(tmp_path) as repository:
        user = msgspec.structs.replace(a_user("guest:1", email=mail), display_name=name)
        await repository.sign_in(user)
        look = place.look(NOW)
        assert {finding.what for finding in look.findings} == {"name", "mail address"}
        assert {finding.verdict for finding in look.findings} == {Verdict.EXPECTED}
        assert any(finding.where.endswith("-wal") for finding in look.findings)
        assert {finding.verdict for finding in place.look(Phase.FORGOTTEN).findings} == {Verdict.LEAK}
        await repository.erase_user(user.user_id, at(1))
        await repository.purge()
        assert place.look(Phase.FORGOTTEN).findings == []


async def test_content_in_the_database_is_a_leak(canaries: Canaries, tmp_path: Path) -> None:
    async with sqlite_repository(tmp_path) as repository:
        await repository.sign_in(msgspec.structs.replace(a_user(), display_name=canaries.text(Kind.SENT)))
        findings = DatabaseFile(canaries, tmp_path / "evanesce.db").look(Phase.BEFORE).findings
    assert {(finding.what, finding.verdict) for finding in findings} == {("sent", Verdict.LEAK)}


def test_a_database_that_is_not_there_cannot_be_looked_at(canaries: Canaries, tmp_path: Path) -> None:
    with pytest.raises(CouldNotLook, match=r"evanesce\.db cannot be read"):
        DatabaseFile(canaries, tmp_path / "evanesce.db").look(NOW)
