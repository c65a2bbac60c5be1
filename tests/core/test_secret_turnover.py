"""Everything that is derived from a secret of the configuration: before, while and after the secret is replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import evanesce
from evanesce.accounts.tokens import Tokens
from evanesce.config.model import (
    AdminTable,
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
    secrets_of,
)
from evanesce.config.shared import differences, shared_settings
from evanesce.errors import CommandError
from evanesce.store.sealing.exchange import KeyExchange
from evanesce.store.sealing.keyring import Keyring
from evanesce.subjects import Subjects

pytestmark = pytest.mark.slow

OLD, NEW = "old-" * 8, "new-" * 8
NOW = 1_800_000_000_000

BEFORE = ServerTable(secret=OLD)
KNOWN = ServerTable(secret=(OLD, NEW), ban_secret=OLD)
USED = ServerTable(secret=(NEW, OLD), ban_secret=OLD)
AFTER = ServerTable(secret=NEW, ban_secret=OLD)
STEPS = [BEFORE, KNOWN, USED, AFTER]
NAMES = ["before", "known", "used", "after"]

CORE = Path(evanesce.__file__).parent
USES = {
    "application.py": {"a token", "a refreshed token", "a person in a ban"},
    "server.py": {"a greeting", "an offer of keys"},  # operators' tokens: tests/core/admin
    "config/shared.py": {"what servers tell each other"},
    "config/model.py": set[str](),
    "config/rules.py": set[str](),  # what is refused: tests/core/config/test_secret_lists.py
    "cli/check.py": set[str](),  # says how many there are
    "cli/main.py": set[str](),  # generates one: tests/core/config/test_secret.py
    "config/public.py": set[str](),  # whether operators are served
    "cli/admin_client.py": set[str](),  # operators' tokens: tests/core/admin
    "testing/plugins.py": set[str](),  # a fixed one for tests
}
"""Where the secrets of the configuration are read, and which rows of the table below are derived from them there."""


def tokens(server: ServerTable) -> Tokens:
    return Tokens(*secrets_of(server.secret), token_seconds=3600, refresh_seconds=86_400)


def refreshed(server: ServerTable) -> str:
    """Return a token that this server gives for one that was signed before the turnover."""
    issued, claims = tokens(BEFORE).issue("user", NOW)
    with suppress(CommandError):
        claims = tokens(server).read(issued, NOW)
    return tokens(server).refresh(claims, NOW)[0]


def reads(server: ServerTable, token: str) -> bool:
    try:
        return tokens(server).read(token, NOW).sub == "user"
    except CommandError as error:
        assert error.code.value == "invalid_token"  # noqa: PT017 - any other one is a fault
        return False


def person(server: ServerTable) -> str:
    return Subjects(server.ban_secret or secrets_of(server.secret)[0]).of("guest:1")


class Node:
    def __init__(self, server: ServerTable, name: str) -> None:
        first, *others = secrets_of(server.secret)
        self.keyring = Keyring(60_000, NOW)
        self.exchange = KeyExchange(self.keyring, first, name, accepted=others)

    def accepts(self, notice: bytes) -> bool:
        try:
            self.exchange.receive(notice, 0.0)
        except ValueError:
            return False
        return True


def gets_keys(one: ServerTable, other: ServerTable) -> bool:
    """Return whether `other` can decrypt what a server `one` encrypts for it."""
    ada, bob = Node(one, "ada"), Node(other, "bob")
    if not ada.accepts(bob.exchange.greeting()):
        return False
    return all(map(bob.accepts, ada.exchange.offer_own())) and ada.keyring.own in bob.keyring.known


def settings(server: ServerTable) -> dict[str, str]:
    config = Config(
        plugins={},
        server=server,
        redis=RedisTable(),
        messages=MessagesTable(),
        rooms=RoomsTable(),
        limits=LimitsTable(),
        retention=RetentionTable(),
        admin=AdminTable(),
    )
    return shared_settings(config, (), None)


Accepts = Callable[[ServerTable, ServerTable], bool]

ACCEPTED: dict[str, Accepts] = {
    "a token": lambda one, other: reads(other, tokens(one).issue("user", NOW)[0]),
    "a refreshed token": lambda one, other: reads(other, refreshed(one)),
    "a greeting": lambda one, other: Node(other, "bob").accepts(Node(one, "ada").exchange.greeting()),
    "an offer of keys": gets_keys,
    "what servers tell each other": lambda one, other: not differences(settings(one), settings(other)),
}
"""What one server derives, and whether another one accepts it: while both have a secret in common that is used."""

KEPT: dict[str, Callable[[ServerTable], Any]] = {"a person in a ban": person}
"""What stays the same throughout, because it is stored."""


def pairs() -> Iterator[Any]:
    for i, one in enumerate(STEPS):
        for j, other in enumerate(STEPS):
            yield pytest.param(i, j, one, other, id=f"{NAMES[i]}, {NAMES[j]}")


def test_the_table_has_all_that_is_derived() -> None:
    read = re.compile(r"secrets_of\(|\.ban_secret\b|\bserver\.secret\b(?!`)|admin\.token\b(?!`|\"|\.)")
    found = set[str]()
    for file in CORE.rglob("*.py"):
        code = re.sub(r'"""(?:.|\n)*?"""|#.*|"[^"\n]*"', "", file.read_text())
        if read.search(code):
            found.add(file.relative_to(CORE).as_posix())
    assert found == USES.keys(), "say what is derived from a secret there, and try it below"
    assert set[str]().union(*USES.values()) == ACCEPTED.keys() | KEPT.keys()


@pytest.mark.parametrize("derived", ACCEPTED)
@pytest.mark.parametrize(("i", "j", "one", "other"), list(pairs()))
def test_it_is_accepted_one_step_before_and_after_and_no_longer(
    i: int, j: int, one: ServerTable, other: ServerTable, derived: str
) -> None:
    accepted = secrets_of(one.secret)[0] in secrets_of(other.secret)
    if abs(i - j) <= 1:
        assert accepted, "no step of the guide signs anybody out"
    if derived in ("what servers tell each other", "an offer of keys"):  # both servers need each other's
        accepted = accepted and secrets_of(other.secret)[0] in secrets_of(one.secret)
    assert ACCEPTED[derived](one, other) == accepted


@pytest.mark.parametrize("derived", KEPT)
def test_what_is_stored_stays_the_same(derived: str) -> None:
    assert len({KEPT[derived](server) for server in STEPS}) == 1
    assert KEPT[derived](ServerTable(secret=NEW)) != KEPT[derived](BEFORE)


def test_a_token_is_signed_by_the_first_secret() -> None:
    for server, signing in zip(STEPS, (OLD, OLD, NEW, NEW), strict=True):
        for token in (tokens(server).issue("user", NOW)[0], refreshed(server)):
            assert [reads(ServerTable(secret=secret), token) for secret in (OLD, NEW)] == [
                signing == OLD,
                signing == NEW,
            ]
