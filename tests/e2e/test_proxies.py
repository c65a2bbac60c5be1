"""People behind the real nginx, Caddy and HAProxy, configured by the files of docs/how-to/proxies."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trustme

from tests.e2e.clients import ChatClient, until
from tests.e2e.real_proxies import FILES, RealProxy, require
from tests.e2e.running import Server
from tests.transports.serving import upgrade_request

pytestmark = pytest.mark.slow

IDLE_SECONDS = 7.0  # more than twice the time that the proxies wait for data
CONNECTIONS = 12
SETTINGS = (
    'plugins.quart.trusted_proxies=["unix:"]',
    f"limits.connections_per_address={CONNECTIONS}",
    "limits.handshakes_per_second=1000",
    "limits.exempt_addresses=[]",
    "limits.heartbeat_seconds=0.5",
    "server.drain_seconds=0.5",
)


@dataclass
class Endpoint:
    """A server behind a proxy, as `ChatClient` needs it."""

    ws_url: str


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate with its key, for 127.0.0.1, which the clients of this process trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "chat.pem"))
    return tmp_path / "chat.pem"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def head(path: str, **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}\r\n".encode()


class Scene:
    """Proxies, each with its path, before one server; two people behind each of them, all in one room."""

    def __init__(self, server: Server, proxies: Sequence[tuple[RealProxy, str]], nursery: trio.Nursery) -> None:
        self.server = server
        self.proxies = proxies
        self.people: list[ChatClient] = []
        self.room_id = ""
        self.context = ssl.create_default_context()
        self._nursery = nursery

    def url(self, proxy: RealProxy, path: str) -> str:
        return f"wss://127.0.0.1:{proxy.port}{path}/ws"

    async def meet(self, public_url: str) -> None:
        for proxy, path in self.proxies:
            for query in ("", "?roomId="):
                endpoint = Endpoint(self.url(proxy, path) + (query and f"{query}{self.room_id}"))
                person = await ChatClient.open(endpoint, self._nursery, f"{proxy.file}{path}{len(self.people)}")
                self.people.append(person)
                if not self.room_id:
                    created = await person.ask("create_room")
                    self.room_id = created["roomId"]
                    assert created["deepLink"] == f"{public_url}/r/{self.room_id}"
                await person.join(self.room_id)
            assert await self.status(proxy, head(f"{path}/r/{self.room_id}")) == 200
            assert await self.status(proxy, head(f"{path}/api/v1/rooms/{self.room_id}")) in (200, 401)

    async def talk(self) -> None:
        for person in self.people:
            message_id = (await person.say(self.room_id, f"from {person.name}"))["messageId"]

            def everybody_has_it(message_id: str = message_id) -> bool:
                return all(
                    any(event.get("messageId") == message_id for event in other.record if event["type"] == "message")
                    for other in self.people
                )

            await until(everybody_has_it)

    async def status(self, proxy: RealProxy, request: bytes, source: str = "127.0.0.1") -> int:
        status, connection = await trio.to_thread.run_sync(proxy.exchange, self.context, source, request)
        connection.close()
        return status

    async def fill(self, proxy: RealProxy, path: str, source: str) -> None:
        """Open as many connections as an address may have, and see that a forged header allows no others."""
        with ExitStack() as held:
            for _ in range(CONNECTIONS):
                status, connection = await trio.to_thread.run_sync(
                    proxy.exchange, self.context, source, upgrade_request(f"{path}/ws", host="127.0.0.1")
                )
                held.enter_context(connection)
                assert status == 101, proxy.file
            for forged in ({"x_forwarded_for": "198.51.100.1"}, {"forwarded": "for=198.51.100.1"}, {}):
                request = upgrade_request(f"{path}/ws", host="127.0.0.1", **forged)
                assert await self.status(proxy, request, source) == 429, proxy.file
            neighbour = source.replace("127.0.0.", "127.0.1.")
            assert await self.status(proxy, head(f"{path}/healthz"), neighbour) == 200

    async def come_back(self) -> None:
        for person in self.people:
            await person.connect()
            await person.join(self.room_id)

    def check_logs(self) -> None:
        tokens = [person.token for person in self.people]
        for proxy, _ in self.proxies:
            logged = proxy.logs()
            assert "127.0.0." in logged, f"{proxy.file} has logged nothing"
            assert self.room_id not in logged, f"{proxy.file}:\n{logged}"
            assert "roomId" not in logged, f"{proxy.file}:\n{logged}"
            assert not any(token in logged for token in tokens), proxy.file


async def scenario(scene: Scene, public_url: str) -> None:
    await scene.meet(public_url)
    await scene.talk()
    connections = [person.connection for person in scene.people]
    await trio.sleep(IDLE_SECONDS)  # time is what is tried: nothing but heartbeats goes over the connections
    await scene.talk()
    assert [person.connection for person in scene.people] == connections
    for number, (proxy, path) in enumerate(scene.proxies):
        await scene.fill(proxy, path, f"127.0.0.{10 + number}")
    await trio.to_thread.run_sync(scene.server.stop)
    for person in scene.people:
        await until(lambda person=person: person.connection.close_reason is not None)
    for proxy, path in scene.proxies:
        if proxy.file == "haproxy-tcp.cfg":
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await scene.status(proxy, head(f"{path}/r/{scene.room_id}"))
        else:
            assert await scene.status(proxy, head(f"{path}/r/{scene.room_id}")) in (502, 503), proxy.file
            upgrade = upgrade_request(f"{path}/ws?roomId={scene.room_id}", host="127.0.0.1")
            assert await scene.status(proxy, upgrade) in (502, 503), proxy.file
    await trio.to_thread.run_sync(scene.server.start)
    await scene.come_back()
    await scene.talk()


async def test_people_behind_proxies_that_read_http(
    tmp_path: Path, certificate: Path, stack: ExitStack, nursery: trio.Nursery
) -> None:
    require("nginx", "caddy", "haproxy")
    folder = tmp_path / "server"
    folder.mkdir()
    proxies = [
        (RealProxy("nginx.conf", tmp_path / "nginx", folder / "quart", certificate), ""),
        (
            RealProxy(
                "nginx.conf", tmp_path / "below", folder / "quart", certificate, {"location / {": "location /chat/ {"}
            ),
            "/chat",
        ),
        (RealProxy("Caddyfile", tmp_path / "caddy", folder / "quart", certificate), "/chat"),
        (RealProxy("haproxy.cfg", tmp_path / "haproxy", folder / "quart", certificate), "/chat"),
    ]
    public_url = f"https://127.0.0.1:{proxies[1][0].port}/chat"
    server = Server(folder, *SETTINGS, f"server.public_url={public_url}", sockets=True)
    stack.enter_context(server)
    for proxy, _ in proxies:
        stack.enter_context(proxy)
    scene = Scene(server, proxies, nursery)
    await scenario(scene, public_url)
    assert await scene.status(proxies[1][0], head("/r/x")) == 404, "nginx serves nothing but the path"
    stack.close()
    scene.check_logs()


async def test_people_behind_haproxy_with_the_proxy_protocol(
    tmp_path: Path, certificate: Path, stack: ExitStack, nursery: trio.Nursery
) -> None:
    require("haproxy")
    folder = tmp_path / "server"
    folder.mkdir()
    file, socket = "haproxy-tcp.cfg", folder / "quart"
    proxies = [
        (RealProxy(file, tmp_path / "v2", socket, certificate), ""),
        (RealProxy(file, tmp_path / "v1", socket, certificate, {"send-proxy-v2": "send-proxy"}), ""),
    ]
    public_url = f"https://127.0.0.1:{proxies[0][0].port}"
    own = ("plugins.quart.proxy_protocol=true", f"plugins.quart.certfile={certificate}")
    server = Server(folder, *SETTINGS, *own, f"server.public_url={public_url}", sockets=True)
    stack.enter_context(server)
    for proxy, _ in proxies:
        stack.enter_context(proxy)
    scene = Scene(server, proxies, nursery)
    await scenario(scene, public_url)
    stack.close()
    scene.check_logs()


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda file: file.name)
def test_the_page_shows_the_files(file: Path) -> None:
    page = (FILES.parent / "serve-behind-a-proxy.md").read_text("utf-8")
    assert f"](proxies/{file.name})" in page
    shown = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert file.read_text("utf-8") in shown
