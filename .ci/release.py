"""Make the files of a release, describe them, sign them and verify them. `.ci/release` runs the steps in order.

    release.py build FOLDER            the wheel and the source archive, built twice and compared
    release.py lock FOLDER UV CYCLONEDX PIP_AUDIT
                                       requirements with hashes, the bill of materials, and known vulnerabilities
    release.py sign FOLDER KEY         the checksums, and the provenance with an SSH signature
    release.py verify FOLDER SIGNERS   everything that `sign` has written; SIGNERS is an `allowed_signers` file of SSH

Of the commit that is checked out, changes that are not committed are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMESPACE = "evanesce-release"
SIGNER = "release@evanesce.example"
PROVENANCE = "provenance.intoto.json"
SUMS = "SHA256SUMS"
EXTRAS = "all"


def output(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout).strip()


def commit() -> str:
    return output("git", "rev-parse", "HEAD")


def version() -> str:
    text = output("git", "show", "HEAD:pyproject.toml")
    return str(tomllib.loads(text)["project"]["version"])


def checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def artefacts(folder: Path) -> list[Path]:
    """Return the files of a release but those that describe them."""
    described = {SUMS, PROVENANCE, f"{PROVENANCE}.sig"}
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name not in described)


# --- build ---


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if artefacts(folder):
        raise SystemExit(f"{folder} is not empty")
    moment = output("git", "log", "-1", "--format=%ct")
    source = subprocess.run(["git", "archive", "HEAD"], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as temporary:
        first = build_once(source, Path(temporary) / "one", moment, 0o022, "UTC")
        second = build_once(source, Path(temporary) / "two" / "deeper", moment, 0o077, "Asia/Kathmandu")
        sums = [{file.name: checksum(file) for file in built} for built in (first, second)]
        if sums[0] != sums[1]:
            raise SystemExit(f"two builds of one commit differ: {sums}")
        for file in first:
            (folder / file.name).write_bytes(file.read_bytes())
            print(f"{sums[0][file.name]}  {file.name}")


def build_once(source: bytes, folder: Path, moment: str, umask: int, zone: str) -> list[Path]:
    """Build in a folder of its own, with another umask, time zone and times of the files than the other time."""
    before = os.umask(umask)
    try:
        with tarfile.open(fileobj=io.BytesIO(source)) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 of Debian has none
            archive.extractall(folder / "source")
        for file in (folder / "source").rglob("*"):
            os.utime(file)
        environment = os.environ | {"SOURCE_DATE_EPOCH": moment, "TZ": zone}
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"))
        output(*command, str(folder / "source"), env=environment)
    finally:
        os.umask(before)
    return sorted((folder / "dist").iterdir())


# --- lock ---


def lock(folder: Path, uv: str, cyclonedx: str, pip_audit: str) -> None:
    [wheel] = folder.glob("*.whl")
    stem = f"evanesce-{version()}"
    pins = folder / f"{stem}.requirements.txt"
    with tempfile.TemporaryDirectory() as temporary:
        constraints = Path(temporary) / "constraints.txt"
        constraints.write_text(output("git", "show", "HEAD:constraints.txt"))
        wanted = Path(temporary) / "wanted.txt"
        wanted.write_text(f"evanesce[{EXTRAS}] @ {wheel.resolve().as_uri()}\n")
        options = ("--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")
        options += ("--python-version", "3.11", "--no-emit-package", "evanesce", "--constraint", str(constraints))
        locked = output(uv, "pip", "compile", *options, str(wanted))
        pins.write_text(f"evanesce[{EXTRAS}]=={version()} \\\n    --hash=sha256:{checksum(wheel)}\n{locked}\n")
        environment = Path(temporary) / "environment"
        output(sys.executable, "-m", "venv", "--without-pip", str(environment))
        python = str(environment / "bin/python")
        # As a deployer installs it: every file is one whose hash is known.
        install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--require-hashes")
        output(*install, "--find-links", str(folder), "--requirement", str(pins))
        if output(str(environment / "bin/evanesce"), "--version") != f"evanesce {version()}":
            raise SystemExit("what was installed has another version")
        materials = folder / f"{stem}.cdx.json"
        options = ("--output-reproducible", "--of", "JSON", "--sv", "1.6", "-o", str(materials))
        output(cyclonedx, "environment", *options, python)
        print(f"{len(json.loads(materials.read_text())['components'])} components, installed with their hashes")
        dependencies = Path(temporary) / "dependencies.txt"
        dependencies.write_text(locked + "\n")
        audit(pip_audit, dependencies)


def audit(pip_audit: str, pins: Path) -> None:
    """Fail for a known vulnerability; only tell of it in a trial. Say plainly where nothing could be asked."""
    command = [pip_audit, "--requirement", pins, "--require-hashes", "--disable-pip", "--strict", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode == 0:
        print("no known vulnerabilities")
    elif "known vulnerabilit" not in said:
        print(f"NOT CHECKED for known vulnerabilities: {said.strip().splitlines()[-1:]}")
    elif os.environ.get("EVANESCE_TRIAL"):
        print(f"KNOWN VULNERABILITIES, which would end a release:\n{said}")
    else:
        raise SystemExit(said)


# --- sign and verify ---


def statement(folder: Path) -> dict[str, object]:
    """Return the provenance: a statement of in-toto with the predicate of SLSA."""
    repository = "git+https://evanesce.example"
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": checksum(file)}} for file in artefacts(folder)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://evanesce.example/release/v1",
                "externalParameters": {"source": repository, "version": version()},
                "resolvedDependencies": [{"uri": repository, "digest": {"gitCommit": commit()}}],
            },
            "runDetails": {"builder": {"id": "https://evanesce.example/release/by-a-maintainer"}},
        },
    }


def sign(folder: Path, key: Path) -> None:
    (folder / PROVENANCE).write_text(json.dumps(statement(folder), indent=2) + "\n")
    (folder / SUMS).write_text("".join(f"{checksum(file)}  {file.name}\n" for file in artefacts(folder)))
    (folder / f"{PROVENANCE}.sig").unlink(missing_ok=True)
    output("ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", key, folder / PROVENANCE)


def verify(folder: Path, signers: Path) -> None:
    """Fail where the signature, the provenance, or a file is not what it was."""
    signature = ("-n", NAMESPACE, "-I", SIGNER, "-f", str(signers), "-s", str(folder / f"{PROVENANCE}.sig"))
    signed = (folder / PROVENANCE).read_text()
    output("ssh-keygen", "-Y", "verify", *signature, input=signed)
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in json.loads(signed)["subject"]}
    found = {file.name: checksum(file) for file in artefacts(folder)}
    sums = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    if not subjects == found == sums:
        raise SystemExit(f"the files differ from the provenance: {sorted(subjects.items() ^ found.items())}")
    [made_of] = json.loads(signed)["predicate"]["buildDefinition"]["resolvedDependencies"]
    print(f"{len(found)} files are those that were made of the commit {made_of['digest']['gitCommit']}")


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["build", folder]:
            build(Path(folder))
        case ["lock", folder, uv, cyclonedx, pip_audit]:
            lock(Path(folder), uv, cyclonedx, pip_audit)
        case ["sign", folder, key]:
            sign(Path(folder), Path(key))
        case ["verify", folder, signers]:
            verify(Path(folder), Path(signers))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
