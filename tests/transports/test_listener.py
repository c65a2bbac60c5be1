"""Where transports listen: settings, TLS, what stands in the way, and a system short of descriptors."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

import msgspec
import pytest
import trio
import trustme

from evanesce.errors import ConfigurationError
from evanesce_transports import quart, trio_websocket
from tests.patience import PATIENCE
from tests.transports.serving import SCHEMES, TRANSPORTS, FakeGateway, build, frame_of, listening

on_each = pytest.mark.parametrize("transport", TRANSPORTS)


def test_the_plugins_declare_their_settings() -> None:
    listening_ = {"certfile": None, "keyfile": None, "trusted_proxies": (), "proxy_protocol": False}
    assert msgspec.structs.asdict(quart.evanesce_settings()()) == {
        "bind": "127.0.0.1:8000",
        **listening_,
        "metrics_public": False,
    }
    assert msgspec.structs.asdict(trio_websocket.evanesce_settings()()) == {"bind": "127.0.0.1:8001", **listening_}
    for module in (quart, trio_websocket):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"bnid": "x"}, module.evanesce_settings())


@on_each
@pytest.mark.parametrize("bind", ["", "8000", "localhost", "localhost:", ":8000", "localhost:http", "x:65536", "x:²"])
def test_an_address_that_is_none(transport: str, bind: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, bind=bind)
    assert wrong.value.path == f"plugins.{transport}.bind"


@on_each
def test_networks_that_are_none(transport: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, trusted_proxies=("nonsense",))
    assert wrong.value.path == f"plugins.{transport}.trusted_proxies"


@on_each
def test_a_certificate_that_is_none(transport: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nonsense")
    for certfile in ("missing.pem", "bad.pem"):
        with pytest.raises(ConfigurationError) as wrong:
            build(transport, tmp_path, certfile=certfile)
        assert wrong.value.path == f"plugins.{transport}.certfile"
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, tmp_path, keyfile="key.pem")
    assert wrong.value.path == f"plugins.{transport}.keyfile"


@on_each
async def test_a_port_that_is_taken(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport) as server:
        with pytest.raises(ConfigurationError) as wrong:
            await build(transport, bind=f"127.0.0.1:{server.port}").serve(gateway)
        assert wrong.value.path == f"plugins.{transport}.bind"
        with pytest.raises(ConfigurationError):
            await build(transport, bind="host.invalid:0").serve(gateway)


@on_each
async def test_a_start_without_a_free_descriptor_is_explained(
    gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("evanesce.listening.listener.open_poller", fail)
    with pytest.raises(ConfigurationError, match="Too many open files"):
        await build(transport, bind="127.0.0.1:0").serve(gateway)


@on_each
async def test_ipv6(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport, bind="[::1]:0") as server:
        assert server.url == f"{SCHEMES[transport]}://[::1]:{server.port}"
        await server.check_alive()
    assert build(transport, bind="[::1]:0").binds == ["[::1]:0"]


@on_each
async def test_a_system_short_of_descriptors(
    gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = trio.SocketListener.accept
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENFILE, "File table overflow")]

    async def failing(self: trio.SocketListener) -> trio.SocketStream:
        if failures:
            raise failures.pop()
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    async with listening(gateway, transport) as server:
        await server.check_alive()
    assert not failures


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Put a certificate at server.pem; give a client that trusts it."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@on_each
async def test_tls(gateway: FakeGateway, transport: str, tls: ssl.SSLContext, tmp_path: Path) -> None:
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(gateway, transport, tmp_path, tls=tls, certfile="server.pem") as server:
        assert server.url == f"{SCHEMES[transport]}s://127.0.0.1:{server.port}"
        await server.check_alive()
        async with server.websocket() as client:
            for number in range(50):
                await client.send_message(f"{number}" * 500)
            assert [await client.get_message() for _ in range(50)] == [f"{number}" * 500 for number in range(50)]
            connection = gateway.connections[-1]
            frame = frame_of(b"x" * 200_000)
            assert connection.write(frame)
            assert connection.waiting_bytes > 200_000
            assert await client.get_message() == "x" * 200_000
            async with server.websocket() as other:  # nobody waits for the other's sending
                await other.send_message("x")
                assert await other.get_message() == "x"
        async with await server.connect() as stream:
            assert isinstance(stream, trio.SSLStream)
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "http/1.1"


@on_each
async def test_no_tls_to_a_tls_port(
    gateway: FakeGateway, transport: str, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(gateway, transport, tmp_path, tls=tls, certfile="server.pem") as server:
        monkeypatch.setattr("evanesce.listening.listener.TLS_SECONDS", 0.2)
        for start in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            async with await server.raw() as stream:
                with trio.fail_after(PATIENCE):
                    await stream.send_all(start or b"\x16")
                    while True:
                        try:
                            if not await stream.receive_some(1000):
                                break
                        except trio.BrokenResourceError:
                            break
        monkeypatch.undo()
        await server.check_alive()
