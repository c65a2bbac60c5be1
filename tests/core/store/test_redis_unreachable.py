"""Why a Redis cannot be used, told in words of its own for each reason: by `check`, to callers, and in the log."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import trustme
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.health import Severity
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.connection import Address
from evanesce.store.redis.faults import UNKNOWN, classify
from evanesce.store.redis.node_client import NodeClient
from tests.core.store.backends import RedisBackend, draft
from tests.core.store.tls import behind_tls, certified
from tests.ports import free_port
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

SECRET = "hunter2-never-shown"


@contextmanager
def http() -> Iterator[int]:
    """Answer each connection as a web server does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(1024)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@contextmanager
def silent() -> Iterator[int]:
    """Take connections, and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """Take no connection: those that wait already are all that may wait."""
    with ExitStack() as stack:
        listener, *waiting = [stack.enter_context(socket.socket()) for _ in range(4)]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@dataclass(frozen=True)
class Case:
    """A URL that does not lead to a Redis for the server, what else makes it so, and what has to be told."""

    url: str
    words: str
    setup: Sequence[str] = ()
    cluster: bool = False


ACL = "ACL SETUSER"
CASES = {
    "no such host": Case("redis://nowhere.invalid:6379", "cannot be found: the name of its host is unknown"),
    "nothing listens": Case("redis://127.0.0.1:{free}", "nothing listens there"),
    "no answer to a connection": Case("redis://127.0.0.1:{full}", "host does not answer"),
    "no answer": Case("redis://127.0.0.1:{silent}", "did not answer in time"),
    "no socket": Case("unix:///nowhere/socket", "socket does not exist"),
    "TLS on a plain port": Case("rediss://127.0.0.1:{port}", "does not use TLS on this port"),
    "plain on a TLS port": Case("redis://localhost:{tls}", "uses TLS on this port"),
    "plain on a TLS port, with a password": Case(f"redis://:{SECRET}@localhost:{{tls}}", "uses TLS on this port"),
    "TLS that says nothing": Case("rediss://127.0.0.1:{silent}", "did not answer the TLS handshake"),
    "a certificate of a stranger": Case(
        "rediss://localhost:{tls}?ssl_ca_certs={unknown}", "certificate is not trusted"
    ),
    "no authority given": Case("rediss://localhost:{tls}", "certificate is not trusted"),
    "a certificate that expired": Case("rediss://localhost:{old}?ssl_ca_certs={known}", "certificate has expired"),
    "a certificate of another host": Case("rediss://127.0.0.1:{other}?ssl_ca_certs={known}", "is for another host"),
    "a client without a certificate": Case(
        "rediss://localhost:{mutual}?ssl_ca_certs={known}", "refuses the TLS handshake"
    ),
    "a wrong password": Case(
        f"redis://:{SECRET}@127.0.0.1:{{port}}", "refuses the server's password.", (f"{ACL} default >right",)
    ),
    "an unknown user": Case(f"redis://ada:{SECRET}@127.0.0.1:{{port}}", "refuses the server's password."),
    "no password": Case("redis://127.0.0.1:{port}", "requires a password", (f"{ACL} default resetpass >right",)),
    "a password that nobody set": Case(f"redis://:{SECRET}@127.0.0.1:{{port}}", "its default user has none"),
    "no such database": Case("redis://127.0.0.1:{port}/99", "no database of this number"),
    "a database that may not be chosen": Case(
        f"redis://ada:{SECRET}@127.0.0.1:{{port}}/1",
        "does not allow its user to select a database",
        (f"{ACL} ada on >{SECRET} ~* &* +@all -select",),
    ),
    "no connection left": Case("redis://127.0.0.1:{port}", "accepts no more connections", ("CONFIG SET maxclients 1",)),
    "a lone Redis as a cluster": Case("redis://127.0.0.1:{port}", "is not a cluster", cluster=True),
    "a cluster as a lone Redis": Case("redis://127.0.0.1:{node}", "is a cluster."),
    "a web server": Case("redis://127.0.0.1:{http}", "is not a Redis"),
    "no sentinel": Case("redis+sentinel://127.0.0.1:{free}/chat", "No sentinel"),
    "a sentinel that is none": Case("redis+sentinel://127.0.0.1:{port}/chat", "No sentinel"),
}


@asynccontextmanager
async def places(valkey: RedisBackend, cluster: ValkeyCluster, folder: Path, url: str) -> AsyncGenerator[str, None]:
    """Fill in where all is that a URL names."""
    known = trustme.CA()
    known.cert_pem.write_to_path(folder / "known.pem")
    trustme.CA().cert_pem.write_to_path(folder / "unknown.pem")
    mutual = certified(known)
    mutual.verify_mode = ssl.CERT_REQUIRED
    known.configure_trust(mutual)
    contexts = {
        "tls": certified(known),
        "old": certified(known, until=datetime(2020, 1, 1)),
        "other": certified(known, "elsewhere.invalid"),
        "mutual": mutual,
    }
    where: dict[str, object] = {"known": folder / "known.pem", "unknown": folder / "unknown.pem", "free": free_port()}
    async with AsyncExitStack() as stack:
        for name, context in contexts.items():
            if f"{{{name}}}" in url:
                where[name] = await stack.enter_async_context(behind_tls(valkey.url.removeprefix("unix://"), context))
        for name, server in (("http", http), ("silent", silent), ("full", full)):
            if f"{{{name}}}" in url:
                where[name] = stack.enter_context(server())
        if "{port}" in url:
            where["port"] = free_port()
            valkey.client.config_set("port", where["port"])
        if "{node}" in url:
            cluster.start()
            where["node"] = cluster.primaries[0].port
        yield url.format(**where)


# CPython leaves a TLS socket to the garbage collector whose peer has reset it before the handshake began.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CASES)
async def test_each_reason_is_told_apart(
    name: str,
    valkey: RedisBackend,
    shared_cluster: ValkeyCluster,
    tmp_path: Path,
    room_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = CASES[name]
    async with places(valkey, shared_cluster, tmp_path, case.url) as url:
        for command in case.setup:
            valkey.client.execute_command(*command.split())
        table = RedisTable(url=url, cluster=case.cluster)
        async with open_redis_store(table, ttl=60, server_id="check") as store:
            [found] = await store.health.check()
            refusal = ""
            try:
                await store.messages.append(room_id, [draft(room_id)])
            except StoreUnavailable as error:
                refusal = error.message
            assert refusal or name == "a cluster as a lone Redis", "some of a cluster's rooms are on this node"
    assert (found.part, found.severity) == ("redis", Severity.FAIL)
    assert case.words in found.text
    assert found.advice
    told = found.text + found.advice + refusal + caplog.text
    assert SECRET not in told
    assert "Traceback" not in told


async def test_attempts_that_fail_at_once_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    client = NodeClient(Address(f"redis://127.0.0.1:{free_port()}"))
    for _ in range(3):
        assert await client._open() is None
    assert caplog.text.count("does not answer") == 1


def test_the_words_are_those_of_one_reason() -> None:
    """Where Redis itself tells them apart; it never says whether the user or the password is wrong."""
    words = [case.words for case in CASES.values()]
    same = {
        "uses TLS on this port",
        "certificate is not trusted",
        "refuses the server's password.",
        "No sentinel",
    }
    assert len(set(words)) == len(words) - len(same)


@pytest.mark.parametrize(
    ("below", "words"),
    [
        (OSError(errno.ENETUNREACH, "x"), "no route to its host"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to its host"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its host is unknown"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "its host is unknown"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "ended the connection"),
        (PermissionError(errno.EACCES, "x"), "may not be used"),
    ],
)
def test_what_the_system_says(below: OSError, words: str) -> None:
    error = ConnectionError("x")
    error.__context__ = below
    assert words in classify(error).meaning
    assert words in classify(below).meaning, "the driver does not wrap everything"
    assert classify(below).advice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ResponseError("SELECT is not allowed in cluster mode"), "only one database"),
        (ResponseError("DENIED Redis is running in protected mode because"), "protected mode"),
        (ResponseError("unknown command 'SSUBSCRIBE', with args beginning with: "), "does not know a command"),
        (ResponseError("ACL failure in script: User S3CR3T has no permissions"), "does not grant the server"),
        (TimeoutError("Timeout reading from socket"), "did not answer in time"),
        (ConnectionError("S3CR3T"), UNKNOWN.meaning),
        (RedisError("S3CR3T"), UNKNOWN.meaning),
    ],
)
def test_what_redis_says(error: RedisError, words: str) -> None:
    assert words in classify(error).meaning
    assert "S3CR3T" not in "".join(classify(error))
