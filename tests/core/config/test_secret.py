"""The secret that is kept in the working folder."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evanesce.config import secret
from evanesce.errors import ConfigurationError

GOOD = "0123456789abcdefghijklmnopqrstuv"


def kept(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    file = folder / secret.NAME
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_it_is_made_once_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    made = secret.keep(tmp_path)
    file = tmp_path / secret.NAME
    assert len(made) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret.keep(tmp_path) == made
    assert os.listdir(tmp_path) == [secret.NAME]


def test_two_folders_have_two_secrets(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert len({secret.keep(folder) for folder in folders}) == 2


def test_all_that_start_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(secret.keep, [tmp_path] * 64))
    assert len(secrets) == 1
    assert os.listdir(tmp_path) == [secret.NAME]


@pytest.mark.parametrize("content", [GOOD.encode(), GOOD.encode() + b"\n", GOOD.encode() + b"\r\n"])
def test_one_that_somebody_put_there_is_taken(tmp_path: Path, content: bytes) -> None:
    kept(tmp_path, content)
    assert secret.keep(tmp_path) == GOOD


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"short", "has fewer than 32"), (b"\xff" * 40, "is not text")],
)
def test_one_that_is_no_secret_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    file = kept(tmp_path, content)
    with pytest.raises(ConfigurationError, match=told) as caught:
        secret.keep(tmp_path)
    assert caught.value.path == str(file)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o777])
def test_one_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    kept(tmp_path, GOOD.encode(), mode)
    with pytest.raises(ConfigurationError, match=r"others on this machine may read it\. .*chmod 600") as caught:
        secret.keep(tmp_path)
    assert GOOD not in str(caught.value)


def test_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / secret.NAME).mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory\)"):
        secret.keep(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be stored \(No such file or directory\)\. Set server"):
        secret.keep(tmp_path / "nowhere")
