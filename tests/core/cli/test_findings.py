"""What `evanesce check` fails on and warns of in a configuration that can be used, and `serve` says at its start."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trustme

from evanesce.cli import check
from evanesce.cli.report import Report
from evanesce_plugins.worldid.settings import PUBLIC_KEY
from tests.core.cli.test_commands import SECONDS, bind_of_nobody, run

pytestmark = pytest.mark.slow

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

WORLD_ID = (
    'plugins.enabled=["worldid", "sqlite", "quart"]',
    "plugins.worldid.app_id=app_staging_1",
    "plugins.worldid.rp_id=rp_1",
    "plugins.worldid.action=chat",
    "plugins.worldid.environment=staging",
    f"plugins.worldid.api_url=http://{bind_of_nobody()}",
)
TLS = ("plugins.quart.certfile=server.pem",)

CASES: Mapping[str, tuple[Sequence[str], str, str, str]] = {
    "an expired certificate": (
        (*TLS, "server.public_url=https://localhost"),
        "expired",
        "plugin quart",
        "fail: the certificate of plugins.quart.certfile has expired",
    ),
    "a certificate of tomorrow": (
        (*TLS, "server.public_url=https://localhost"),
        "tomorrow",
        "plugin quart",
        "fail: the certificate of plugins.quart.certfile is not valid yet",
    ),
    "a certificate of another host": (
        (*TLS, "server.public_url=https://localhost"),
        "elsewhere",
        "plugin quart",
        "warn: the certificate of plugins.quart.certfile does not name localhost",
    ),
    "a certificate and http": (
        (*TLS, "server.public_url=http://localhost"),
        "good",
        "plugin quart",
        "fail: server.public_url is http://localhost, but with certfile",
    ),
    "https without TLS": (
        ("server.public_url=https://localhost",),
        "good",
        "plugin quart",
        "warn: server.public_url is https://localhost, but there is neither",
    ),
    "the simulator of World ID": (
        (*WORLD_ID, f"plugins.worldid.signing_key={'1' * 64}", "server.public_url=https://chat.example"),
        "good",
        "plugin worldid",
        "fail: plugins.worldid.api_url is a simulator",
    ),
    "its key, where all interfaces are listened on": (
        (*WORLD_ID, f"plugins.worldid.signing_key={PUBLIC_KEY}", "plugins.quart.bind=0.0.0.0:{port}"),
        "good",
        "plugin worldid",
        "fail: plugins.worldid.signing_key is the simulator's",
    ),
    "a table of no plugin": (
        ("plugins.gest.allow_public=true",),
        "good",
        "plugins",
        "warn: [plugins.gest] belongs to a plugin that is not installed: nothing reads it",
    ),
}
every_case = pytest.mark.parametrize(("settings", "certificate", "part", "told"), CASES.values(), ids=CASES)


def arguments(settings: Sequence[str], folder: Path, certificate: str) -> list[str]:
    """Put the certificate into the folder, and give the settings as arguments."""
    host = "elsewhere.example" if certificate == "elsewhere" else "localhost"
    since, until = {"expired": (-9, -1), "tomorrow": (1, 9)}.get(certificate, (-1, 1))
    issued = trustme.CA().issue_cert(host, not_before=NOW + since * DAY, not_after=NOW + until * DAY)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    bind = bind_of_nobody()
    given = [f"plugins.quart.bind={bind}", *settings]
    return [word for setting in given for word in ("--set", setting.replace("{port}", bind.rpartition(":")[2]))]


@every_case
def test_check(settings: Sequence[str], certificate: str, part: str, told: str, tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--json", *arguments(settings, tmp_path, certificate))
    answer = json.loads(done.stdout)
    status, _, text = told.partition(": ")
    [check] = [check for check in answer["checks"] if check["part"] == part and check["detail"].startswith(text)]
    assert (check["status"], bool(check["advice"])) == (status, True)
    if status == "fail":
        assert (answer["ok"], done.returncode) == (False, 1)
    elif part != "plugin worldid":
        assert (answer["ok"], done.returncode) == (True, 0)


@every_case
def test_serve_says_so_on_one_line_and_starts(
    settings: Sequence[str], certificate: str, part: str, told: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "evanesce", "serve", *arguments(settings, tmp_path, certificate)]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(b"listening on "), (tmp_path / "errors").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(SECONDS)
        process.stdout.close()
    lines = (tmp_path / "errors").read_text().splitlines()
    assert len([line for line in lines if told.partition(": ")[2] in line and " WARNING " in line]) == 1, lines


def test_nothing_is_found_in_what_is_shipped(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--json", "--set", f"plugins.quart.bind={bind_of_nobody()}")
    parts = [check["part"] for check in json.loads(done.stdout)["checks"]]
    assert not [part for part in parts if part.startswith("plugin ")]


def test_who_runs_as_root_is_warned(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--json", "--set", f"plugins.quart.bind={bind_of_nobody()}")
    warned = [check["status"] for check in json.loads(done.stdout)["checks"] if check["part"] == "user"]
    assert warned == (["warn"] if os.geteuid() == 0 else [])


def test_a_plugin_that_is_set_but_not_enabled_is_named(tmp_path: Path) -> None:
    settings = ["--set", f"plugins.quart.bind={bind_of_nobody()}", "--set", "plugins.turso.timeout=3"]
    done = run(tmp_path, "check", "--json", *settings)
    [check] = [check for check in json.loads(done.stdout)["checks"] if check["part"] == "plugins"]
    assert check["status"] == "ok"
    assert check["detail"].endswith("; configured, but not enabled: turso")


@pytest.mark.parametrize("way", ["set", "environment", "env", "file", "kept"])
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_secret_of_fewer_than_32_bytes_is_refused(way: str, command: str, tmp_path: Path) -> None:
    short = "S3CR3T-" + "x" * 24
    given: list[str] = []
    environ: dict[str, str] = {}
    match way:
        case "set":
            given = ["--set", f"server.secret={short}"]
        case "environment":
            environ["EVANESCE__SERVER__SECRET"] = short
        case "env":
            (tmp_path / "config.toml").write_text('[server]\nsecret = { env = "SECRET" }')
            environ["SECRET"] = short
        case "file":
            (tmp_path / "config.toml").write_text('[server]\nsecret = { file = "secret" }')
            (tmp_path / "secret").write_text(short + "\n")
        case _:
            (tmp_path / "evanesce.secret").write_text(short)
            (tmp_path / "evanesce.secret").chmod(0o600)
    done = run(tmp_path, command, *given, environ=environ)
    assert done.returncode == 2
    assert "S3CR3T" not in done.stdout
    [line] = done.stderr.splitlines()
    assert "32" in line
    assert "secret" in line
    assert "S3CR3T" not in line


def test_check_fails_where_no_secret_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    report = Report()
    check._check_secret(report, None, tmp_path)
    assert report.failed
    assert report.refused, "serve refuses it with exit code 2"
    assert not any(tmp_path.iterdir())
