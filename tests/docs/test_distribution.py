"""What is distributed, built for real: the source archive, and the wheel made of it, with the documentation."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

from docs.generate import headings

ROOT = Path(__file__).parents[2]
CACHES = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
SHIPPED = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "config.toml",
    *(
        str(file.relative_to(ROOT))
        for file in (ROOT / "docs").rglob("*")
        if file.is_file()
        and not CACHES.intersection(file.parts)
        and not (file.suffix == ".py" and file.parent == ROOT / "docs")
        and file.parent.name != "command-line"
    ),
]
FOR_SHELLS = {
    "evanesce.1": "share/man/man1/evanesce.1",
    "evanesce.bash": "share/bash-completion/completions/evanesce",
    "evanesce.fish": "share/fish/vendor_completions.d/evanesce.fish",
    "evanesce.zsh": "share/zsh/site-functions/_evanesce",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive, and the wheel from it, into a folder. The checks of the JavaScript are installed."""
    (ROOT / "tests/javascript/node_modules").mkdir(exist_ok=True)
    (ROOT / "tests/javascript/node_modules/.installed-by-a-test").touch()
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def archive(built: Path) -> Mapping[str, bytes]:
    """Return the files of the source archive, by their names in the checkout."""
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as opened:
        members = {member.name: opened.extractfile(member) for member in opened if not member.isdir()}
        return {name.partition("/")[2]: content.read() for name, content in members.items() if content is not None}


@pytest.fixture(scope="module")
def wheel(built: Path) -> Mapping[str, bytes]:
    """Return the files of the wheel."""
    [file] = built.glob("*.whl")
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def documentation(wheel: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return what the wheel puts into `share/doc/evanesce`."""
    found = {name.partition(".data/data/share/doc/evanesce/")[2]: content for name, content in wheel.items()}
    return {name: content for name, content in found.items() if name}


def metadata(wheel: Mapping[str, bytes]) -> Message:
    [content] = [content for name, content in wheel.items() if name.endswith(".dist-info/METADATA")]
    return HeaderParser().parsestr(content.decode())


def test_both_hold_the_documentation_and_the_configuration(
    archive: Mapping[str, bytes], documentation: Mapping[str, bytes]
) -> None:
    assert set(documentation) == set(SHIPPED)
    for name in SHIPPED:
        assert archive[name] == documentation[name] == (ROOT / name).read_bytes(), name


def test_shells_and_man_find_their_files(wheel: Mapping[str, bytes]) -> None:
    assert {file.name for file in (ROOT / "docs/command-line").iterdir()} == FOR_SHELLS.keys()
    installed = {name.partition(".data/data/")[2]: content for name, content in wheel.items()}
    for name, place in FOR_SHELLS.items():
        assert installed[place] == (ROOT / "docs/command-line" / name).read_bytes()


def test_every_link_between_the_pages_leads_somewhere(documentation: Mapping[str, bytes]) -> None:
    links = 0
    for name, content in documentation.items():
        if not name.endswith(".md"):
            continue
        for target, place in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", content.decode()):
            if "://" not in target:
                found = posixpath.normpath(PurePosixPath(name).parent / target) if target else name
                assert found in documentation, f"{name} links to {target}"
                assert not place or place in headings(ROOT / found), f"{name} links to {target}#{place}"
                links += 1
    assert links > 20


def test_the_metadata_names_the_projects_addresses(wheel: Mapping[str, bytes]) -> None:
    urls = dict(line.split(", ", 1) for line in metadata(wheel).get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog"} <= set(urls)
    assert all(url.startswith("https://") for url in urls.values())


def test_the_packages_are_whole(archive: Mapping[str, bytes], wheel: Mapping[str, bytes]) -> None:
    roots = {"core/evanesce": "evanesce", "plugins/evanesce_plugins": "evanesce_plugins"}
    roots["transports/evanesce_transports"] = "evanesce_transports"
    listed = subprocess.run(["git", "ls-files", *roots], cwd=ROOT, capture_output=True, text=True, check=False)
    files = listed.stdout.split() or [name for name in archive if name.startswith(tuple(roots))]
    assert len(files) > 100
    for name in files:
        root = next(root for root in roots if name.startswith(f"{root}/"))
        assert wheel[roots[root] + name.removeprefix(root)] == archive[name], name


def test_nothing_of_a_server_that_ran_in_the_checkout_is_in_it(
    archive: Mapping[str, bytes], wheel: Mapping[str, bytes]
) -> None:
    for name in (*archive, *wheel):
        assert not re.search(r"evanesce\.(db|secret)|__pycache__|\.venv/|node_modules/", name), name
