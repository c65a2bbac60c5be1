"""The peers' servers: the program that each one is, and the arguments and the configuration that it is started with.

Everything that costs, and that the stages do not need, is off. What stores messages keeps them for `TTL` seconds, as
Evanesce does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.benchmarks.peers import SERVERS, Peers

TTL = 60

MOST_CONNECTIONS = 20_000


class Store(NamedTuple):
    """A Valkey for a peer: its Unix socket, and its port for a peer that cannot use that."""

    path: Path
    port: int


class Place(NamedTuple):
    """Where a server runs: its folder, its port, and its store, if any."""

    folder: Path
    port: int
    store: Store | None


class PeerServer(Protocol):
    """A peer's server."""

    @property
    def dialect(self) -> str:
        """The name of its protocol in `load.dialects`."""
        ...

    @property
    def says(self) -> str:
        """What it prints when it listens. If this is empty, it listens once it answers a request over HTTP."""
        ...

    def program(self, peers: Peers) -> list[str]:
        """Return the program, fetched if needed. Raises `RuntimeError` if it cannot be had."""
        ...

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Return the arguments; write the configuration into the folder."""
        ...


@dataclass(frozen=True, slots=True)
class PythonServer:
    """A server of `servers/` on the peers' Python, or on Evanesce's own for one that needs no packages."""

    script: str
    dialect: str
    extra: tuple[str, ...] = ()
    own: bool = False
    says: str = "listening"

    def program(self, peers: Peers) -> list[str]:
        """Return Python and the script."""
        return [peers.own_python() if self.own else peers.python(), str(SERVERS / self.script)]

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Return the port, and the store's socket or what else the script expects."""
        return [str(place.port), *([str(place.store.path)] if place.store else []), *self.extra]


@dataclass(frozen=True, slots=True)
class NodeServer:
    """A server of `servers/` on Node."""

    script: str
    dialect: str
    extra: tuple[str, ...] = ()
    says: str = "listening"

    def program(self, peers: Peers) -> list[str]:
        """Return Node and the script."""
        return peers.node(self.script)

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Return the port, and the store's socket or what else the script expects."""
        return [str(place.port), *([str(place.store.path)] if place.store else []), *self.extra]


@dataclass(frozen=True, slots=True)
class Nchan:
    """Nchan in Debian's nginx. It has a /var/lib of its own, as this nginx needs a folder there."""

    dialect: str = "bare"
    says: str = ""

    def program(self, peers: Peers) -> list[str]:
        """Return nginx in a mount namespace."""
        prepare = 'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/nginx && exec "$@"'
        nginx = peers.debian("nchan") / "usr/sbin/nginx"
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", prepare, "nginx", str(nginx)]

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Write `nginx.conf`."""
        store = place.store
        upstream = f"upstream valkey {{ nchan_redis_server 127.0.0.1:{store.port}; }}" if store else ""
        configuration = place.folder / "nginx.conf"
        configuration.write_text(f"""
load_module {peers.debian("nchan")}/usr/lib/nginx/modules/ngx_nchan_module.so;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile {MOST_CONNECTIONS};
pid {place.folder}/nginx.pid;
error_log {place.folder}/errors.log warn;
events {{ worker_connections {MOST_CONNECTIONS}; }}
http {{
  access_log off;
  {upstream}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    location = / {{ return 204; }}
    location ~ ^/room/(.+)$ {{
      nchan_pubsub websocket;
      nchan_channel_id $1;
      {"nchan_redis_pass valkey;" if store else ""}
      nchan_message_timeout {TTL}s;
      nchan_message_buffer_length 1000;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
""")
        return ["-p", str(place.folder), "-c", str(configuration), "-e", str(place.folder / "errors.log")]


@dataclass(frozen=True, slots=True)
class Centrifugo:
    """Centrifugo with its memory engine or its Redis engine, with history and recovery."""

    dialect: str = "centrifugo"
    says: str = ""

    def program(self, peers: Peers) -> list[str]:
        """Return the binary."""
        return [peers.go("centrifugo")]

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Write `centrifugo.json`. The intervals of pings are a day's, as the load answers none."""
        store = place.store
        redis = {"type": "redis", "redis": {"address": [f"redis://127.0.0.1:{store.port}"]}} if store else {}
        channel = {
            "history_size": 1_000,
            "history_ttl": f"{TTL}s",
            "force_recovery": True,
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
            "allow_publish_for_subscriber": True,
            "allow_publish_for_anonymous": True,
        }
        settings = {
            "http_server": {"address": "127.0.0.1", "port": str(place.port)},
            "client": {
                "allow_anonymous_connect_without_token": True,
                "ping_interval": "24h",
                "pong_timeout": "1h",
                "connection_limit": MOST_CONNECTIONS,
            },
            "channel": {"without_namespace": channel},
            "engine": redis,
            "log": {"level": "error"},
        }
        configuration = place.folder / "centrifugo.json"
        configuration.write_text(json.dumps(settings))
        return ["--config", str(configuration)]


@dataclass(frozen=True, slots=True)
class Nats:
    """NATS over WebSocket: it stores nothing."""

    dialect: str = "nats"
    says: str = ""

    def program(self, peers: Peers) -> list[str]:
        """Return the binary."""
        return [peers.go("nats-server")]

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Write `nats.conf`."""
        configuration = place.folder / "nats.conf"
        configuration.write_text(f"""
listen: "127.0.0.1:-1"
ping_interval: "24h"
max_connections: {MOST_CONNECTIONS}
websocket {{
  listen: "127.0.0.1:{place.port}"
  no_tls: true
}}
""")
        return ["--config", str(configuration)]


@dataclass(frozen=True, slots=True)
class Ejabberd:
    """ejabberd's rooms over WebSocket, without presence and without a history, for anonymous users."""

    dialect: str = "xmpp"
    says: str = ""

    def program(self, peers: Peers) -> list[str]:
        """Return Erlang's virtual machine; it does not wait in a busy loop for more to do."""
        files = peers.debian("ejabberd") / "usr/lib"
        erlang = files / "erlang"
        [runtime] = erlang.glob("erts-*/bin")
        [libraries] = {folder.parents[1] for folder in files.glob("*/ejabberd-*/ebin")}
        variables = {
            "ROOTDIR": erlang,
            "BINDIR": runtime,
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_LIBS": libraries,
        }
        environment = [f"{name}={value}" for name, value in variables.items()]
        idle = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]
        start = ["-boot", str(erlang / "bin/start_clean"), "-noinput", "+K", "true", *idle]
        return ["env", *environment, str(runtime / "erlexec"), *start]

    def arguments(self, peers: Peers, place: Place) -> list[str]:
        """Write `ejabberd.yml`."""
        configuration = place.folder / "ejabberd.yml"
        configuration.write_text(f"""
loglevel: error
hosts: [localhost]
listen:
  - port: {place.port}
    ip: "127.0.0.1"
    module: ejabberd_http
    backlog: 4096
    request_handlers: {{ /ws: ejabberd_http_ws }}
auth_method: [anonymous]
anonymous_protocol: sasl_anon
allow_multiple_connections: true
websocket_ping_interval: 86400
websocket_timeout: 86400
modules:
  mod_muc:
    host: conference.localhost
    access_create: all
    history_size: 0
    max_users: {MOST_CONNECTIONS}
    min_message_interval: 0
    min_presence_interval: 0
    default_room_options: {{ presence_broadcast: [], max_users: {MOST_CONNECTIONS} }}
""")
        database = ["-mnesia", "dir", f'"{place.folder}/database"']
        options = {"config": configuration, "log_path": place.folder / "ejabberd.log"}
        pairs = [word for name, value in options.items() for word in (name, f'"{value}"')]
        return [*database, "-ejabberd", *pairs, "-s", "ejabberd"]
