"""`redis.url`: what can never work is found before anything connects, and no part of a secret is told."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest

from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError
from evanesce.store.redis.connection import cluster_address
from evanesce.store.redis.url import check_url

LAWFUL = [
    "embedded",
    "redis://",
    "redis://host",
    "redis://host:6380/",
    "redis://host/15",
    "redis://user:p%23w@host/0?client_name=chat",
    "redis://host?db=3&username=u&password=p",
    "rediss://host/1?ssl_ca_certs={file}&ssl_certfile={file}&ssl_keyfile={file}&ssl_check_hostname=false",
    "unix:///run/valkey.sock?db=2",
    "redis+sentinel://one,two:26380/main/3?sentinel_username=s&sentinel_password=p",
    "redis+sentinel://user:p%40w@one,[::1]:26380,[::2]/main",
    "rediss+sentinel://one/main?ssl_ca_certs={file}",
]

UNLAWFUL = [
    ("redis://host/abc", "number of a database"),
    ("redis://host/-1", "number of a database"),
    ("redis://host/1/2", "number of a database"),
    ("redis://host/99999999999999999999", "number of a database"),
    ("redis://host/1#s3cret", "after #"),
    ("redis://host?db=s3cret", "number of a database"),
    ("redis://host?db=99999999999999999999", "number of a database"),
    ("redis://host?s3cret=1", "does not exist"),
    ("redis://host?socket_timeout=1", "does not exist"),
    ("redis://host?retry=1", "does not exist"),
    ("redis://host?protocol=3", "does not exist"),
    ("redis://host?ssl_ca_certs={file}", "is for TLS"),
    ("rediss://host?ssl_ca_certs=/there/is/none", "cannot be read"),
    ("rediss://host?ssl_cert_reqs=s3cret", "cannot be used"),
    ("redis://host:99999", "no address of a Redis"),
    ("redis://host:s3cret", "no address of a Redis"),
    ("redis://[::1", "no address of a Redis"),
    ("unix://", "names no socket"),
    ("unix:///run/valkey.sock?nope=1", "does not exist"),
    ("redis://host?sentinel_password=s3cret", "does not exist"),
    ("redis+sentinel://host", "no address of sentinels"),
    ("redis+sentinel://host/main/abc", "number of a database"),
    ("redis+sentinel://host:99999/main", "no address of sentinels"),
]


@pytest.mark.parametrize("url", LAWFUL)
def test_what_may_work_is_taken(url: str, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.touch()
    table = RedisTable(url=url.format(file=file))
    check_url(table)
    assert table.url


@pytest.mark.parametrize(("url", "problem"), UNLAWFUL)
def test_what_can_never_work_is_refused_without_a_word_of_a_secret(url: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.touch()
    with pytest.raises(ConfigurationError, match=problem) as refused:
        check_url(RedisTable(url=url.format(file=file)))
    assert refused.value.path == "redis.url"
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(("url", "problem"), [case for case in UNLAWFUL if case[0].startswith("redis://")])
def test_a_cluster_is_held_to_the_same(url: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        check_url(RedisTable(url=url.format(file=tmp_path), cluster=True))


@pytest.mark.parametrize("hosts", ["one:7000,two", "one,[::1]:7002", "[::1],[::2]:7000,three", "user:p%40w@one,[::1]"])
def test_a_cluster_names_hosts_of_any_kind_in_any_order(hosts: str) -> None:
    table = RedisTable(url=f"redis://{hosts}/0", cluster=True)
    check_url(table)
    _, nodes = cluster_address(table.url)
    assert len(nodes) == hosts.count(",") + 1


def test_a_temporary_folder_with_a_long_path_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/{'long/' * 20}")
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        check_url(RedisTable())
    check_url(msgspec.structs.replace(RedisTable(), url="redis://host"))
