"""The way to a real libSQL server and to a file: whole batches, errors, time-outs, and callers that are cancelled."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from libsql_client.client import LibsqlError

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce_plugins.sql import driver as contract
from evanesce_plugins.sql.driver import Refused, Statement
from evanesce_plugins.turso import driver as driver_module
from evanesce_plugins.turso.driver import TursoDriver, connect
from evanesce_plugins.turso.settings import Address
from tests.e2e.clients import until
from tests.patience import PATIENCE, Stopwatch, within
from tests.plugins.worldid.scripted import scripted_portal
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

TABLE = "plugins.turso"
CREATE = "CREATE TABLE notes (text TEXT NOT NULL UNIQUE)"
ADD = "INSERT INTO notes (text) VALUES (?)"
KEEP = ADD + " ON CONFLICT DO NOTHING"
SOCKETS = ["http", "ws"]


def opened(
    url: str, token: str | None = None, *, folder: Path = Path(), seconds: float = 5.0
) -> AbstractAsyncContextManager[TursoDriver]:
    return connect(Address.of(url, folder, f"{TABLE}.url"), token, seconds, TABLE)


@pytest.fixture(params=["file", *SOCKETS])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TursoDriver]:
    if request.param == "file":
        context = opened("file:evanesce.db", folder=tmp_path)
    else:
        server: Sqld = request.getfixturevalue("sqld")
        context = opened(server.url(request.param), server.token())
    async with context as made:
        await made.execute([Statement(CREATE)])
        yield made


async def texts(driver: TursoDriver) -> list[object]:
    [rows] = await driver.execute([Statement("SELECT text FROM notes ORDER BY rowid")])
    return [row[0] for row in rows]


async def refusal(driver: TursoDriver, *statements: str) -> BaseException | None:
    """Ask for what cannot be had, and give what a deployer is told of it."""
    with pytest.raises(PersistenceUnavailable) as refused:
        await driver.execute([Statement(sql) for sql in statements or ("SELECT 1",)])
    assert str(refused.value) == "The database does not answer. Try again in a moment.", "people are told no more"
    return refused.value.__cause__


# What every way does


async def test_a_batch_gives_the_rows_of_each_statement(driver: TursoDriver) -> None:
    answers = await driver.execute(
        [Statement(ADD + " RETURNING text", ("a",)), Statement(ADD, ("b",)), Statement("SELECT count(*) FROM notes")]
    )
    assert [[tuple(row) for row in rows] for rows in answers] == [[("a",)], [], [(2,)]]


async def test_values_come_out_as_they_went_in(driver: TursoDriver) -> None:
    values = ("👩‍💻 'שלום' \" \\", 2**53 + 1, -(2**63), 1.5, b"\x00\xff", None, "")
    [[row]] = await driver.execute([Statement("SELECT ?, ?, ?, ?, ?, ?, ?", values)])
    assert tuple(row) == values


async def test_a_batch_is_done_whole_or_not_at_all(driver: TursoDriver) -> None:
    await driver.execute([Statement(ADD, ("a",))])
    with pytest.raises(Refused, match=r"UNIQUE constraint failed: notes\.text"):
        await driver.execute([Statement(ADD, ("b",)), Statement(ADD, ("a",))])
    with pytest.raises(LibsqlError):
        await driver.execute([Statement(ADD, ("c",)), Statement("SELECT 1 FROM elsewhere")])
    assert await texts(driver) == ["a"]


async def test_foreign_keys_are_enforced(driver: TursoDriver) -> None:
    await driver.execute([Statement("CREATE TABLE replies (text TEXT REFERENCES notes (text))")])
    with pytest.raises(Refused, match="FOREIGN KEY"):
        await driver.execute([Statement("INSERT INTO replies VALUES ('to nothing')")])


async def test_mistakes_of_ours_are_not_hidden(driver: TursoDriver) -> None:
    for statement in (Statement("SELEKT"), Statement(ADD), Statement("SELECT 1 FROM elsewhere")):
        with pytest.raises((LibsqlError, Refused)):
            await driver.execute([statement])
    assert await texts(driver) == []


async def test_many_at_once_are_all_answered_each_with_its_own(driver: TursoDriver) -> None:
    answers: dict[int, object] = {}

    async def ask(number: int) -> None:
        [[[answers[number]]], _] = await driver.execute(
            [Statement("SELECT ?", (number,)), Statement(ADD, (str(number),))]
        )

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(ask, number)
    assert answers == {number: number for number in range(60)}
    assert len(await texts(driver)) == 60


async def test_cancelled_at_any_moment_a_batch_is_whole_or_absent_and_the_next_gets_its_own_answer(
    driver: TursoDriver,
) -> None:
    for steps in range(60):
        text = f"<{steps}>"
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.execute, [Statement(KEEP, (text,)), Statement(KEEP, (text * 2,))])
                for _ in range(steps):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                nursery.cancel_scope.cancel()
            assert await driver.execute([Statement("SELECT ?", (steps,))]) == [[(steps,)]]
    found = await texts(driver)
    assert len(found) % 2 == 0
    assert all(str(text) in found and str(text) * 2 in found for text in found if str(text).count("<") == 1)


async def test_a_closed_driver_leaves_no_thread_and_no_connection_behind(driver: TursoDriver) -> None:
    # What is left open would show as a ResourceWarning, and here a warning is an error.
    assert await texts(driver) == []


# A file


async def test_a_file_is_set_up_as_it_must_be(tmp_path: Path) -> None:
    async with opened("file:evanesce.db", folder=tmp_path) as driver:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1), ("secure_delete", 1)):
            [[row]] = await driver.execute([Statement(f"PRAGMA {pragma}")])
            assert row[0] == value


async def test_a_lock_on_a_file_is_waited_for_and_one_that_stays_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("file:evanesce.db", folder=tmp_path, seconds=1.0) as driver:
        await driver.execute([Statement(CREATE)])
        with closing(sqlite3.connect(tmp_path / "evanesce.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with within(1.5):
                cause = await refusal(driver, "DELETE FROM notes")
            assert "did not answer in time" in str(cause)
            other.execute("ROLLBACK")
        await driver.execute([Statement(ADD, ("after",))])


async def test_a_purge_that_takes_too_long_is_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    async def hangs(client: object) -> None:
        asked.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(driver_module, "purge", hangs)
    async with opened("file:evanesce.db", folder=tmp_path, seconds=1.5) as driver:
        with pytest.raises(PersistenceUnavailable):
            await driver.purge()
    assert asked.is_set()


@pytest.mark.parametrize("spoil", ["folder", "letter", "nowhere"])
async def test_a_file_that_cannot_be_opened_is_the_configurations_error(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "evanesce.db"
    if spoil == "folder":
        path.mkdir()
    elif spoil == "letter":
        path.write_bytes(b"This is a letter to my grandmother, and no database. " * 40)
    async with opened(
        "file:nowhere/evanesce.db" if spoil == "nowhere" else "file:evanesce.db", folder=tmp_path
    ) as driver:
        cause = await refusal(driver, "SELECT 1 FROM sqlite_master")
    assert isinstance(cause, ConfigurationError)
    assert cause.path == "plugins.turso.url"
    assert "cannot be used as a database" in cause.problem


# Tokens, addresses and certificates


@pytest.mark.parametrize("scheme", SOCKETS)
@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("none", "asks for a token"),
        ("nonsense", "does not know this token"),
        ("another's", "does not know this token"),
        ("expired", "says that this token has expired"),
        ("read only", "takes no writes with this token"),
    ],
)
async def test_each_wrong_token_is_told_for_what_it_is(sqld: Sqld, scheme: str, token: str, told: str) -> None:
    tokens = {
        "none": None,
        "nonsense": "nonsense",
        "another's": sqld.token(key=Ed25519PrivateKey.generate()),
        "expired": sqld.token(seconds=-3600),
        "read only": sqld.token("ro"),
    }
    for _ in range(5):  # it is the same each time, however fast the server ends the connection
        async with opened(sqld.url(scheme), tokens[token]) as driver:
            with trio.fail_after(PATIENCE):
                cause = await refusal(driver, CREATE)
        assert isinstance(cause, ConfigurationError)
        assert cause.path == "plugins.turso.auth_token"
        assert told in cause.problem
        assert (tokens[token] or "-") not in str(cause).replace("plugins.turso.auth_token", "")


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_a_token_that_may_only_read_reads(sqld: Sqld, scheme: str) -> None:
    async with opened(sqld.url(scheme), sqld.token("ro")) as driver:
        assert await driver.execute([Statement("SELECT 1")]) == [[(1,)]]
        await refusal(driver, CREATE)
        assert await driver.execute([Statement("SELECT 2")]) == [[(2,)]]


@pytest.mark.parametrize("scheme", ["libsql", "https", "wss"])
async def test_a_server_without_tls_is_told_as_such(sqld: Sqld, scheme: str) -> None:
    async with opened(sqld.url(scheme), sqld.token()) as driver:
        cause = await refusal(driver)
    assert isinstance(cause, ConfigurationError)
    assert cause.path == "plugins.turso.url"
    assert "speaks no TLS" in cause.problem


@pytest.mark.parametrize("scheme", ["libsql", "wss"])
async def test_a_certificate_that_is_not_trusted_is_told_as_such(scheme: str, nursery: trio.Nursery) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def shake_hands(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, shake_hands, [listener])
    port = listener.transport_listener.socket.getsockname()[1]
    async with opened(f"{scheme}://127.0.0.1:{port}", "token") as driver:
        cause = await refusal(driver)
    assert isinstance(cause, ConfigurationError)
    assert "does not trust" in cause.problem


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_another_server_is_told_as_such(scheme: str) -> None:
    async with scripted_portal() as portal:
        for body, status in ((b"<html>", 404), (b"<html>", 200), (b"{}", 200), (b"[]", 200), (b"", 302)):
            portal.say(body, status)
            async with opened(portal.url.replace("http", scheme, 1), "token") as driver:
                cause = await refusal(driver)
            assert isinstance(cause, ConfigurationError), (body, status)
            assert "is no libSQL server" in cause.problem


async def test_a_host_that_nobody_knows_is_told_as_such() -> None:
    async with opened("http://nowhere.invalid", seconds=10) as driver:
        cause = await refusal(driver)
    assert isinstance(cause, ConfigurationError)
    assert "the name of its host is unknown" in cause.problem


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_a_server_that_is_not_there_is_told_and_noted_once(
    sqld: Sqld, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = sqld.token()
    async with opened(sqld.url(scheme), token) as driver:
        sqld.kill()
        with caplog.at_level(logging.INFO):
            for _ in range(3):
                with within(2):
                    cause = await refusal(driver)
                assert isinstance(cause, PersistenceUnavailable)
                assert f"127.0.0.1:{sqld.port} cannot be reached" in str(cause)
            sqld.start()
            await driver.execute([Statement("SELECT 1")])
    noted = [record.getMessage() for record in caplog.records if record.name == driver_module.__name__]
    assert len(noted) == 2
    assert "cannot be reached" in noted[0]
    assert noted[1] == "the database answers again"
    assert token not in caplog.text


async def test_without_a_token_none_is_sent_and_with_one_it_is_nowhere_but_in_its_header(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted_portal() as portal:
        portal.say(b"", 500)
        for token in (None, "s3cr3t"):
            async with opened(portal.url + "/db", token) as driver:
                with caplog.at_level(logging.DEBUG):
                    await refusal(driver)
        for asked in portal.asked:
            assert (asked.method, asked.path) == ("POST", "/db/v2/pipeline")
        assert portal.asked[0].headers.get("authorization") is None
        assert portal.asked[-1].headers["authorization"] == "Bearer s3cr3t"
    assert "s3cr3t" not in caplog.text


# Trying again


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_what_a_gateway_says_in_passing_is_tried_again(status: int) -> None:
    nothing = {"cols": [], "rows": [], "affected_row_count": 0}
    one = {"cols": [{"name": "1"}], "rows": [[{"type": "integer", "value": "1"}]], "affected_row_count": 0}
    answer = {"step_results": [nothing, one, nothing, None], "step_errors": [None] * 4}
    batch = {"type": "ok", "response": {"type": "batch", "result": answer}}
    async with scripted_portal() as portal:
        portal.say(b"", status)

        async def mend() -> None:
            await until(lambda: len(portal.asked) >= 2)
            portal.say({"baton": None, "results": [batch, {"type": "ok", "response": {"type": "close"}}]})

        async with opened(portal.url) as driver, trio.open_nursery() as nursery:
            nursery.start_soon(mend)
            assert await driver.execute([Statement("SELECT 1")]) == [[(1,)]]
        assert 3 <= len(portal.asked) <= 4


async def test_what_is_hopeless_is_tried_once() -> None:
    async with scripted_portal() as portal:
        portal.say(b"", 401)
        async with opened(portal.url) as driver:
            await refusal(driver)
        assert len(portal.asked) == 1


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_a_server_that_starts_anew_meanwhile_is_not_noticed(sqld: Sqld, scheme: str) -> None:
    async with opened(sqld.url(scheme), sqld.token()) as driver:
        await driver.execute([Statement(CREATE)])
        for number in range(3):
            sqld.kill()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.execute, [Statement(KEEP, (str(number),))])
                await trio.to_thread.run_sync(sqld.start)
        assert await texts(driver) == ["0", "1", "2"]


# A server that hangs


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_a_frozen_server_keeps_nobody_longer_than_the_time_out_and_is_used_again_afterwards(
    sqld: Sqld, scheme: str
) -> None:
    waited: list[float] = []

    async def ask(driver: TursoDriver, text: str) -> None:
        stopwatch = Stopwatch()
        cause = None
        try:
            await driver.execute([Statement(KEEP, (text,))])
        except PersistenceUnavailable as error:
            cause = error.__cause__
        waited.append(stopwatch.seconds())
        assert "did not answer in time" in str(cause)

    async with opened(sqld.url(scheme), sqld.token(), seconds=1.5) as driver:
        await driver.execute([Statement(CREATE)])
        sqld.freeze()
        try:
            for round_ in range(2):
                async with trio.open_nursery() as nursery:
                    for number in range(40):
                        nursery.start_soon(ask, driver, f"{round_} {number}")
        finally:
            sqld.thaw()
        assert len(waited) == 80
        assert max(waited) < 1.9
        with trio.fail_after(PATIENCE):
            while True:  # it takes in first what it was asked while it was frozen
                try:
                    await driver.execute([Statement(KEEP, ("after",))])
                    break
                except PersistenceUnavailable:
                    continue
        found = await texts(driver)
    assert "after" in found
    assert len(found) == len(set(found))


async def test_what_nobody_waits_for_may_take_longer(sqld: Sqld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "PATIENCE", 0.8)
    async with opened(sqld.url(), sqld.token(), seconds=1.6) as driver:
        sqld.freeze()
        try:
            for patient, least, most in ((False, 0.8, 1.1), (True, 1.6, 1.9)):
                start = trio.current_time()
                with within(most), pytest.raises(PersistenceUnavailable):
                    await driver.execute([Statement("SELECT 1")], patient=patient)
                assert trio.current_time() - start >= least
        finally:
            sqld.thaw()
    assert contract.PATIENCE == 2.5


@pytest.mark.parametrize("scheme", SOCKETS)
async def test_it_closes_at_once_though_the_server_hangs(sqld: Sqld, scheme: str) -> None:
    try:
        with within(4.5):
            async with opened(sqld.url(scheme), sqld.token(), seconds=1.5) as driver:
                await driver.execute([Statement("SELECT 1")])
                sqld.freeze()
                await refusal(driver)
    finally:
        sqld.thaw()


async def test_a_server_that_never_answers_is_left_in_time(nursery: trio.Nursery) -> None:
    async with scripted_portal() as portal:  # it takes the request, and says nothing
        async with opened(portal.url, seconds=1.5) as driver:
            with within(1.8):
                assert "did not answer in time" in str(await refusal(driver))
        assert portal.asked


async def test_it_says_which_database_it_is(driver: TursoDriver) -> None:
    text = await driver.describe()
    assert text.startswith("libSQL at ")
    assert "SQLite 3." in text
