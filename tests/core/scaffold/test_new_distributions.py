"""What `evanesce new-plugin` writes passes its checks, and a server runs it: each kind, and all of them together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import trio

from evanesce.scaffold import KINDS, parse_name, write_distribution
from tests.core.scaffold import distributions
from tests.core.scaffold.distributions import ROOT
from tests.e2e.running import Server
from tests.patience import within
from tests.ports import free_port
from tests.transports.line_client import LineClient

pytestmark = pytest.mark.slow

LONG_NAME = "a-name-as-long-as-names-may-be-012345678"
"""A name of 40 characters: no line may become too long."""

WRITTEN = {kind: (f"one-{kind}", (kind,)) for kind in KINDS} | {"all": (LONG_NAME, tuple(KINDS))}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all of `WRITTEN`."""
    folder = tmp_path_factory.mktemp("written")
    for label, (name, kinds) in WRITTEN.items():
        write_distribution(parse_name(name), kinds, folder / label)
    return folder


@pytest.fixture(scope="module")
def site(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where all of them are installed."""
    folder = tmp_path_factory.mktemp("site")
    distributions.install([written / label for label in WRITTEN], folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where mypy keeps what it has found out about Evanesce."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("label", WRITTEN)
def test_its_code_passes_our_checks(written: Path, cache: Path, label: str) -> None:
    own = tomllib.loads((written / label / "pyproject.toml").read_text())["tool"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert own["ruff"]["lint"]["select"] == ours["ruff"]["lint"]["select"]
    assert own["ruff"]["line-length"] == ours["ruff"]["line-length"]
    assert own["mypy"]["strict"]
    distributions.check_style(written / label)
    distributions.check_types(written / label, cache)


@pytest.mark.parametrize("label", ["auth", "transport", "filter", "all"])  # the tests of a database take long, once
def test_its_tests_pass(written: Path, label: str) -> None:
    assert " passed" in distributions.check_tests(written / label)


@pytest.mark.parametrize("label", ["auth", "repository", "filter"])
def test_a_server_starts_with_one_kind(tmp_path: Path, site: Path, label: str) -> None:
    name = parse_name(WRITTEN[label][0]).plugin
    replaced = KINDS[label].replaces
    enabled = [plugin for plugin in ("guest", "sqlite", "quart", name) if plugin != replaced]
    with Server(tmp_path, f"plugins.enabled={enabled}", environment={"PYTHONPATH": str(site)}) as server:
        assert server.open_room(server.sign_in("Ada")["token"])["roomId"]


async def test_people_sign_in_and_talk_through_all_kinds(tmp_path: Path, site: Path) -> None:
    name = parse_name(LONG_NAME).plugin
    port = free_port()
    settings = (
        f"plugins.enabled=['quart', '{name}']",
        f"plugins.{name}.bind=127.0.0.1:{port}",
        f'plugins.{name}.passwords={{ada="a secret", bob="another"}}',
    )
    server = Server(tmp_path, *settings, environment={"PYTHONPATH": str(site)})
    await trio.to_thread.run_sync(server.start)
    try:
        with within(30):
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
            ada, bob = [LineClient(stream) for stream in streams]
            wrong = {"provider": name, "name": "ada", "password": "another"}
            assert (await ada.ask("hello", credential=wrong))["code"] == "auth_failed"
            for client, person, password in ((ada, "ada", "a secret"), (bob, "bob", "another")):
                credential = {"provider": name, "name": person, "password": password}
                assert (await client.ask("hello", credential=credential))["displayName"] == person
            room = (await ada.ask("create_room"))["roomId"]
            for client in (ada, bob):
                assert (await client.ask("join", roomId=room))["type"] == "joined"
            refused = await ada.ask("send", roomId=room, content="Here is mud")
            assert (refused["code"], refused["message"]) == ("rejected", "Please say it in other words.")
            assert (await ada.ask("send", roomId=room, content="Here is sand"))["type"] == "sent"
            heard = await bob.until("message")
            assert (heard["senderName"], heard["content"]) == ("ada", "Here is sand")
            for stream in streams:
                await stream.aclose()
    finally:
        await trio.to_thread.run_sync(server.stop)
