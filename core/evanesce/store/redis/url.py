"""Validates `redis.url`, before the server starts and not when it first connects."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl

from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError
from evanesce.store.embedded import check_socket_path
from evanesce.store.redis.connection import Address, cluster_address, split_url
from evanesce.store.redis.sentinel import SentinelAddress
from evanesce.webaddress import split_authority

KEY = "redis.url"

_TLS_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_TLS_OPTIONS = _TLS_FILES | {"ssl_ca_path", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname"}
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_OPTIONS = frozenset({"db", "username", "password", "client_name"})

_LARGEST_DATABASE = 2**31 - 1
_DIGITS = len(str(_LARGEST_DATABASE))


def check_url(redis: RedisTable) -> None:
    """Raise `ConfigurationError` if `redis.url` can never work on this machine. Makes no connection.

    The URL may contain a password: errors name only its options and files.
    """
    if redis.url == "embedded":
        check_socket_path()
        return
    parts = split_url(redis.url)
    sentinels = "+sentinel" in parts.scheme
    _check_database(parts.path.strip("/").partition("/")[2] if sentinels else parts.path, parts)
    _check_options(parts, sentinels=sentinels)
    address: Address
    if redis.cluster:
        address, _ = cluster_address(redis.url)
    else:
        address = SentinelAddress(redis.url) if sentinels else Address(redis.url)
    if parts.scheme != "unix":
        _check_hosts(parts.netloc)
    if not sentinels:  # the address of the primary is not known yet
        _check_connection(address)


def _check_database(path: str, parts: SplitResult) -> None:
    if parts.fragment:
        raise ConfigurationError(KEY, "has a part after #", "Remove it; write a # in a password as %23.")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ConfigurationError(KEY, "names no socket", "Write it as unix:///PATH?db=DATABASE.")
        return
    database = path.strip("/")
    if database and not _is_database(database):
        raise ConfigurationError(KEY, "does not end in the number of a database", "Write redis://HOST:PORT/0.")


def _is_database(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= _LARGEST_DATABASE


def _check_hosts(netloc: str) -> None:
    """Refuse hosts and ports for which the system's resolver raises an error instead of returning one."""
    hosts = netloc.rpartition("@")[2]
    if not hosts:  # the default of the driver is this machine
        return
    for host in hosts.split(","):
        try:
            _, port = split_authority(host, zones=True)
        except ValueError as error:
            raise ConfigurationError(KEY, str(error), "Write it as redis://HOST:PORT/DATABASE.") from None
        if port == 0:
            raise ConfigurationError(KEY, "has the port 0, on which nothing listens", "Write redis://HOST:PORT/0.")


def _check_options(parts: SplitResult, *, sentinels: bool) -> None:
    tls = parts.scheme.startswith("rediss")
    known = _OPTIONS
    if tls:
        known |= _TLS_OPTIONS
    if sentinels:
        known |= _SENTINEL_OPTIONS
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS_OPTIONS and not tls:
            raise ConfigurationError(KEY, f"the option {name} is for TLS", "Begin the address with rediss://.")
        if name not in known:
            raise ConfigurationError(
                KEY, "has an option that does not exist", f"Known are: {', '.join(sorted(known))}."
            )
        if name == "db" and not _is_database(value):
            raise ConfigurationError(KEY, "the option db is no number of a database", "Write ?db=0.")
        if name in _TLS_FILES and not os.access(Path(value), os.R_OK):
            raise ConfigurationError(KEY, f"the file of the option {name} cannot be read", "Name a file that is there.")


def _check_connection(address: Address) -> None:
    """Create a connection without connecting: the driver checks some options only then."""
    try:
        address.connection()
    except Exception:
        # The driver may raise any exception, and its texts may contain parts of the URL.
        raise ConfigurationError(KEY, "an option has a value that cannot be used", "Correct it.") from None
