"""A release is made of the commit, is the same each time, and what was changed afterwards is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.programs import find_program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".ci/release.py"
SOURCES = ("core", "plugins", "transports", "docs", ".gitignore", "*.md", "*.toml", "LICENSE", "constraints.txt")
SECONDS = 300


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)


def done(*command: str | Path, cwd: Path) -> str:
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit of the sources, and a file that is not committed."""
    git = find_program("git", "git")
    folder = tmp_path_factory.mktemp("checkout")
    for pattern in SOURCES:
        for source in ROOT.glob(pattern):
            if source.is_dir():
                left_out = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(source, folder / source.name, ignore=left_out)
            else:
                shutil.copy(source, folder)
    done(git, "init", "--quiet", ".", cwd=folder)
    done(git, "add", "--all", cwd=folder)
    who = ("-c", "user.name=Releaser", "-c", "user.email=release@evanesce.example")
    done(git, *who, "commit", "--quiet", "-m", "Release", cwd=folder)
    (folder / "core/evanesce/left_behind.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public key of `key`, which is beside it."""
    keygen = find_program("ssh-keygen", "openssh-client")
    folder = tmp_path_factory.mktemp("keys")
    done(keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / "key", cwd=folder)
    (folder / "signers").write_text(f"release@evanesce.example {(folder / 'key.pub').read_text()}")
    return folder / "signers"


@pytest.fixture(scope="module")
def signed(checkout: Path, signers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release."""
    folder = tmp_path_factory.mktemp("release")
    done(sys.executable, PROGRAM, "build", folder, cwd=checkout)
    done(sys.executable, PROGRAM, "sign", folder, signers.with_name("key"), cwd=checkout)
    return folder


@pytest.fixture
def copied(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def test_what_is_signed_is_of_the_commit(checkout: Path, signers: Path, signed: Path) -> None:
    assert "2 files" in done(sys.executable, PROGRAM, "verify", signed, signers, cwd=checkout)
    head = done("git", "rev-parse", "HEAD", cwd=checkout).strip()
    [made_of] = json.loads((signed / "provenance.intoto.json").read_text())["predicate"]["buildDefinition"][
        "resolvedDependencies"
    ]
    assert made_of["digest"] == {"gitCommit": head}
    [wheel] = signed.glob("*.whl")
    assert "left_behind" not in done(sys.executable, "-m", "zipfile", "--list", wheel, cwd=checkout)


def test_the_version_is_the_same_wherever_it_has_to_be_repeated() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    client = ROOT / "transports/evanesce_transports/quart/static/client/package.json"
    assert json.loads(client.read_text())["version"] == version
    assert f"evanesce-client-{version}.tgz" in (ROOT / "docs/reference/javascript-client.md").read_text()
    assert f"image: evanesce:{version}\n" in (ROOT / "docs/examples/kubernetes/evanesce.yaml").read_text()


def test_a_build_into_a_folder_with_files_is_refused(checkout: Path, signed: Path) -> None:
    ended = run(sys.executable, PROGRAM, "build", signed, cwd=checkout)
    assert ended.returncode == 1
    assert "not empty" in ended.stderr


def change_the_wheel(folder: Path) -> None:
    [wheel] = folder.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")


def add_a_file(folder: Path) -> None:
    (folder / "evanesce-9.tar.gz").write_bytes(b"")


def remove_a_file(folder: Path) -> None:
    [archive] = folder.glob("*.tar.gz")
    archive.unlink()


def change_the_provenance(folder: Path) -> None:
    file = folder / "provenance.intoto.json"
    file.write_text(file.read_text().replace("gitCommit", "gitcommit"))


def change_the_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")


CHANGES = [change_the_wheel, add_a_file, remove_a_file, change_the_provenance, change_the_sums]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_changed_is_found(checkout: Path, signers: Path, copied: Path, change) -> None:  # type: ignore[no-untyped-def]
    change(copied)
    refuses(checkout, copied, signers)


def test_a_signature_of_another_key_is_refused(checkout: Path, copied: Path, signers: Path, tmp_path: Path) -> None:
    done("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other", cwd=tmp_path)
    done(sys.executable, PROGRAM, "sign", copied, tmp_path / "other", cwd=checkout)
    refuses(checkout, copied, signers)


def refuses(checkout: Path, copied: Path, signers: Path) -> None:
    ended = run(sys.executable, PROGRAM, "verify", copied, signers, cwd=checkout)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
