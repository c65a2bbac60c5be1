"""`evanesce check` and `serve` where the database cannot be used: each reason in words of its own, and no token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evanesce_plugins.sql.schema import MIGRATIONS
from tests.checks import failure, rows
from tests.e2e.tls_front import over_tls
from tests.ports import free_port
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

SCHEMES = ["http", "ws"]


def evanesce(
    folder: Path, command: str, url: str, token: str | None, *settings: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    given = [
        f"plugins.enabled={json.dumps(['guest', 'turso', 'quart'])}",
        f"plugins.turso.url={url}",
        f"plugins.quart.bind=127.0.0.1:{free_port()}",
        *([] if token is None else [f"plugins.turso.auth_token={token}"]),
        *settings,
    ]
    words = [word for setting in given for word in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "evanesce", command, *words],
        cwd=folder,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(folder: Path, url: str, token: str | None, *settings: str) -> str:
    """Return what the check says of the database; `serve` has to say the same, and to stop."""
    checked = evanesce(folder, "check", url, token, *settings)
    assert checked.returncode in (1, 2), checked.stdout + checked.stderr
    failed = failure(checked.stdout)
    assert failed.part == "database"
    served = evanesce(folder, "serve", url, token, *settings)
    assert (served.returncode, served.stdout) == (2, "")
    told = f"{failed.detail}. {failed.advice}" if failed.advice else failed.detail
    assert (checked.returncode == 2) == told.startswith("plugins.turso."), "2: a setting has to be corrected"
    assert served.stderr.splitlines()[-1] == f"evanesce: {told}"
    if token is not None:
        assert token not in checked.stdout + checked.stderr + served.stderr
    return told


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_database_that_can_be_used(tmp_path: Path, sqld: Sqld, scheme: str) -> None:
    done = evanesce(tmp_path, "check", sqld.url(scheme), sqld.token())
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = [row for row in rows(done.stdout) if row.part == "database"]
    assert found.detail.startswith(f"libSQL at 127.0.0.1:{sqld.port}, SQLite 3.")
    assert found.detail.endswith(f"it will be created at the first start, with schema version {len(MIGRATIONS)}")
    assert sqld.rows("SELECT count(*) FROM sqlite_master WHERE name = 'User'") == [(0,)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_reason_is_told_apart(tmp_path: Path, sqld: Sqld, scheme: str) -> None:
    url, where = sqld.url(scheme), f"the database at 127.0.0.1:{sqld.port}"
    tls = "https" if scheme == "http" else "wss"
    token = sqld.token()
    stranger = sqld.token(key=Ed25519PrivateKey.generate())
    told = {
        "wrong URL": refusal(tmp_path, f"{url}/nowhere", token),
        "TLS": refusal(tmp_path, sqld.url(tls), token),
        "no token": refusal(tmp_path, url, None),
        "wrong token": refusal(tmp_path, url, stranger),
        "expired token": refusal(tmp_path, url, sqld.token(seconds=-3600)),
        "read-only token": refusal(tmp_path, url, sqld.token("ro")),
    }
    key, setting = "plugins.turso.auth_token", "plugins.turso.url"
    assert told["wrong URL"].startswith(f"{setting}: {where} is no libSQL server (HTTP status 404). ")
    assert told["TLS"].startswith(f"{setting}: {where} speaks no TLS. ")
    assert told["no token"].startswith(f"{key}: {where} asks for a token. ")
    assert told["wrong token"].startswith(f"{key}: {where} does not know this token. ")
    assert told["expired token"].startswith(f"{key}: {where} says that this token has expired. ")
    assert told["read-only token"].startswith(f"{key}: {where} takes no writes with this token. ")

    assert evanesce(tmp_path, "db", url, token).returncode == 0
    newer = len(MIGRATIONS) + 1
    sqld.rows(f'INSERT INTO "Schema" VALUES ({newer})')
    told["newer"] = refusal(tmp_path, url, token)
    assert told["newer"].startswith(f"{setting}: the database has schema version {newer}, and this Evanesce knows none")

    sqld.freeze()
    try:
        told["frozen"] = refusal(tmp_path, url, token, "plugins.turso.timeout=1")
    finally:
        sqld.thaw()
    assert f"127.0.0.1:{sqld.port} did not answer in time" in told["frozen"]

    sqld.kill()
    told["refused"] = refusal(tmp_path, url, token)
    assert f"127.0.0.1:{sqld.port} cannot be reached" in told["refused"]
    assert len(set(told.values())) == len(told)


async def test_every_scheme_that_means_tls_works_where_the_certificate_is_trusted(
    tmp_path: Path, sqld: Sqld, nursery: trio.Nursery
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    environ = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    port = await over_tls(sqld.port, nursery, authority.issue_cert("localhost"))
    for scheme in ("libsql", "https", "wss"):
        check = partial(evanesce, tmp_path, "check", f"{scheme}://localhost:{port}", sqld.token(), environ=environ)
        done = await trio.to_thread.run_sync(check)
        assert f"ok   libSQL at localhost:{port}, SQLite 3." in done.stdout, done.stdout + done.stderr
        strange = partial(evanesce, tmp_path, "check", f"{scheme}://127.0.0.1:{port}", sqld.token(), environ=environ)
        done = await trio.to_thread.run_sync(strange)
        assert "has a certificate that this machine does not trust" in done.stdout, "it is another name's"
