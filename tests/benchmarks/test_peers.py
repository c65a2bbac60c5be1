"""What the benchmark knows about peers, as far as that needs none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import peers, plot, report
from tests.benchmarks.campaign import Result, prepare
from tests.benchmarks.contenders import LIMIT, NATS, NCHAN_REDIS, SOCKETIO, SOCKETIO_REDIS, Contender
from tests.benchmarks.load.dialects import RESUMING, Step
from tests.benchmarks.peer_servers import Centrifugo, Ejabberd, Nats, Nchan, PeerServer, Place, Store
from tests.benchmarks.peers import Peers
from tests.benchmarks.ratios import verdicts
from tests.benchmarks.scenarios import TINY, stages

OWN = "Evanesce (quart)"
RETURN = f"{TINY.returning} people come back"


class WithPython(Peers):
    """Peers from PyPI are there; the tools for the others may not be."""

    def python(self) -> str:
        return self.own_python()


class Unpacked(Peers):
    """Peers that look as if they had been fetched."""

    def debian(self, name: str) -> Path:
        for folder in ("usr/lib/erlang/erts-1/bin", "usr/lib/any/ejabberd-1/ebin"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        return self._folder

    def go(self, name: str) -> str:
        return str(self._folder / name)


def test_a_peer_whose_tools_are_missing_is_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = [stage for stage in stages(TINY, [Contender(OWN)], peers=True) if "small rooms" in stage.name]
    left, left_out = prepare(wanted, WithPython(tmp_path))
    assert left_out[NATS.name] == "go is not installed"
    assert left_out[NCHAN_REDIS.name] == "apt-get is not installed"
    assert left_out[SOCKETIO.name] == left_out[SOCKETIO_REDIS.name] == "npm is not installed"
    names = [contender.name for contender in left[0].contenders]
    assert OWN in names
    assert LIMIT.name in names
    assert not set(names) & set(left_out)
    table = report.table(report.summarise([], TINY, OWN, left_out))
    assert f"left out: {NATS.name}: go is not installed" in table


@pytest.mark.parametrize(
    ("tool", "fetch"), [("go", lambda them: them.go("nats-server")), ("npm", lambda them: them.node("floor.py"))]
)
def test_what_fetches_a_peer_keeps_its_caches_in_the_folder(
    tool: str, fetch: Callable[[Peers], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    program(tmp_path / tool, f'(echo "$@"; env) > {said}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    fetch(Peers(tmp_path / "peers"))
    text = said.read_text()
    places = {
        "go": ["GOPATH={}/path", "GOMODCACHE={}/modules", "GOCACHE={}/cache", "GOFLAGS=-modcacherw"],
        "npm": ["--cache {}/cache"],
    }
    folder = tmp_path / "peers" / {"go": "go", "npm": "node"}[tool]
    for place in places[tool]:
        assert place.format(folder) in text


def test_a_peer_that_cannot_be_fetched_in_time_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "go", "exec sleep 600")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(peers, "FETCH_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match=r"go install .* did not end within"):
        Peers(tmp_path / "peers").go("nats-server")


def program(path: Path, script: str) -> None:
    """Write a program for the shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("server", [Nchan(), Centrifugo(), Nats(), Ejabberd()], ids=lambda server: server.dialect)
@pytest.mark.parametrize("store", [None, Store(Path("/run/valkey.sock"), 4567)], ids=["memory", "Redis"])
def test_a_peer_listens_on_its_port_and_knows_its_store(
    server: PeerServer, store: Store | None, tmp_path: Path
) -> None:
    peers = Unpacked(tmp_path)
    words = [*server.program(peers), *server.arguments(peers, Place(tmp_path, 1234, store))]
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(written) == 1
    assert any(str(written[0]) in word for word in words)
    configuration = written[0].read_text()
    assert "1234" in configuration
    if not isinstance(server, Nats | Ejabberd):  # which have no store
        assert ("127.0.0.1:4567" in configuration) == (store is not None)


@pytest.mark.parametrize(
    ("name", "heard", "position"),
    [
        ("evanesce", b'[{"type":"welcome","token":"t"}][{"cursor":"1"}][{"cursor":"2"}]', '"since":"2"'),
        ("socketio-recovery", b'40{"sid":"s","pid":"p"}42["message",{"a":1},"o"]', '40{"pid":"p","offset":"o"}'),
        ("centrifugo", b'{"epoch":"e"}{"offset":1}{"offset":2}', '"recover":true,"epoch":"e","offset":2'),
    ],
)
def test_who_comes_back_names_the_last_position_that_they_had(name: str, heard: bytes, position: str) -> None:
    dialect = RESUMING[name]
    steps = dialect.come_back("room", heard)
    assert any(position in _payload(step) for step in steps)
    assert not any(position in _payload(step) for step in dialect.arrive("room", heard))
    with pytest.raises(RuntimeError):
        dialect.come_back("room", b"nothing")


@pytest.mark.parametrize(
    ("name", "heard", "lost"),
    [
        ("evanesce", b'{"type":"joined","missed":0}', 0),
        ("evanesce", b'{"type":"joined","missed":12}', 12),
        ("evanesce", b'{"type":"joined","missed":null}', 1),
        ("centrifugo", b'{"recovered":true,"was_recovering":true}', 0),
        ("centrifugo", b'{"was_recovering":true}', 1),
    ],
)
def test_what_a_server_calls_lost_is_counted(name: str, heard: bytes, lost: int) -> None:
    assert RESUMING[name].lost(heard) == lost


def test_goals_are_ratios_to_the_peers() -> None:
    figures = {OWN: 3.0, NCHAN_REDIS.name: 4.0, SOCKETIO_REDIS.name: 2.0}

    def median_of(scenario: str, contender: str, value: str) -> float | None:
        return figures.get(contender) if value == "cpu_us_per_message" else None

    [to_nchan, to_socketio] = verdicts(median_of, TINY, OWN)
    assert (to_nchan.value, to_nchan.wanted, to_nchan.word) == (0.75, "≤ 1", "reached")
    assert (to_socketio.value, to_socketio.wanted, to_socketio.word) == (1.5, "≤ 1.2", "missed")


def test_the_plot_shows_the_best_first_and_nobody_who_lost_messages() -> None:
    rooms = f"{TINY.small_rooms[-1]} rooms of 4, all talking"
    figures = [(OWN, 30.0), (SOCKETIO_REDIS.name, 20.0), (NCHAN_REDIS.name, 10.0), (LIMIT.name, 1.0)]
    results = [Result(rooms, name, 0, {"cpu_us_per_message": value}) for name, value in figures]
    results += [
        Result(RETURN, OWN, 0, {"seconds": 2.0, "missed": 0.0}),
        Result(RETURN, SOCKETIO.name, 0, {"seconds": 1.0, "missed": 4.0}),
    ]
    summary = report.summarise(results, TINY, OWN, {})
    drawn = plot.svg(summary, TINY)
    assert drawn.index(NCHAN_REDIS.name) < drawn.index(SOCKETIO_REDIS.name) < drawn.index(OWN)
    assert LIMIT.name not in drawn
    assert f">{SOCKETIO.name}<" not in drawn
    assert drawn.count("shorter is better") == 2
    assert json.loads(report.as_json(summary, results))["left_out"] == {}


def _payload(step: Step) -> str:
    """Return what a client's frame says."""
    frame = step.sent
    if not frame:
        return ""
    head = {126: 4, 127: 10}.get(frame[1] & 127, 2)
    mask, masked = frame[head : head + 4], frame[head + 4 :]
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked)).decode()
