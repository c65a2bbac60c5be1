"""The contracts find faults: each fault of the table, planted in a copy of our own plugins, fails the test it names.

The same test passes on a copy without a fault.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.contracts.copies import copied
from tests.contracts.faults import FAULTS, Seeded
from tests.contracts.subjects import run
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def test_there_are_many_faults_of_each_kind_of_plugin() -> None:
    kinds = [seeded.subject.__name__ for seeded in FAULTS.values()]
    assert len(FAULTS) >= 20
    assert all(kinds.count(kind) >= 2 for kind in ("Sqlite", "WebSocket", "Guest", "WorldId"))


def found(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group and its groups."""
    if isinstance(error, BaseExceptionGroup):
        return [one for inner in error.exceptions for one in found(inner)]
    return [error]


async def outcome(
    seeded: Seeded, folder: Path, caplog: pytest.LogCaptureFixture, *, planted: bool
) -> BaseException | None:
    """Return what the test raises on a copy with or without the fault; None where it passes."""
    (folder / "data").mkdir()
    with copied(seeded.package, folder, seeded.changes if planted else ()) as copy:
        subject = seeded.subject(copy)
        try:
            with trio.fail_after(PATIENCE):
                await run(subject, seeded.test, folder / "data", seeded.parameters, caplog)
        except Exception as error:
            return error
        return None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    error = await outcome(FAULTS[fault], tmp_path, caplog, planted=True)
    assert error is not None, f"{FAULTS[fault].test} passes though the plugin {fault}"
    assert not any(isinstance(one, NameError | SyntaxError | ImportError) for one in found(error)), error


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_copy_without_the_fault_passes(fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    error = await outcome(FAULTS[fault], tmp_path, caplog, planted=False)
    assert error is None, error
