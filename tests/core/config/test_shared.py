"""What all servers on one Redis must have in common: which settings, and what they tell each other of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from evanesce.config.model import (
    AdminTable,
    Config,
    LimitsTable,
    LogsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
    TracesTable,
)
from evanesce.config.shared import DATABASE, FINGERPRINTS, PROVIDERS, SHARED, differences, shared_settings

pytestmark = pytest.mark.slow

SECRET = "a secret of the deployer that is long enough".replace(" ", "-")

OWN = {
    "server.public_url",
    "server.lame_duck_seconds",
    "server.origins",
    "server.node",
    "server.workers",
    "server.drain_seconds",
    "server.token_hours",
    "server.refresh_days",
    "redis.url",
    "redis.cluster",
    "redis.prefix",
    "messages.history",
    "rooms.roster_size",
    "admin.bind",
    "admin.token",
    "limits.commands_per_second",
    "limits.joins_per_second",
    "limits.members_per_second",
    "limits.rooms_per_connection",
    "limits.connections_per_address",
    "limits.handshakes_per_second",
    "limits.commands_before_hello",
    "limits.exempt_addresses",
    "logs.format",
    "logs.level",
    "logs.levels",
    "logs.addresses",
    "traces.url",
    "traces.ratio",
    "limits.frame_bytes",
    "limits.outbox_bytes",
    "limits.hello_seconds",
    "limits.heartbeat_seconds",
}
"""What each server may have of its own: it is about this server alone, or names where the others are found."""


def config_with(**changed: Any) -> Config:
    tables: dict[str, Any] = {
        "server": ServerTable(secret=SECRET),
        "redis": RedisTable(),
        "messages": MessagesTable(),
        "rooms": RoomsTable(),
        "limits": LimitsTable(),
        "retention": RetentionTable(),
        "admin": AdminTable(),
        "logs": LogsTable(),
        "traces": TracesTable(),
    }
    for path, value in changed.items():
        table, _, key = path.partition(".")
        tables[table] = msgspec.structs.replace(tables[table], **{key: value})
    return Config(plugins={}, **tables)


def told(config: Config, providers: tuple[str, ...] = ("guest",), database: str | None = "one") -> dict[str, str]:
    return shared_settings(config, providers, database)


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return {"evanesce": "debug"}
    return SECRET[::-1] if isinstance(value, str) else value + 1


def test_every_setting_is_either_shared_or_a_servers_own() -> None:
    config = config_with()
    every = {
        f"{table}.{field.name}"
        for table in Config.__struct_fields__
        if table != "plugins"
        for field in msgspec.structs.fields(type(getattr(config, table)))
    }
    assert not set(SHARED) & OWN
    assert every == set(SHARED) | OWN, "say of a new setting whether servers on one Redis have to share it"


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_setting_that_differs_is_named(name: str) -> None:
    table, _, key = name.partition(".")
    default = getattr(getattr(config_with(), table), key) or SECRET
    before = config_with(**{"server.ban_secret": SECRET})
    after = config_with(**{"server.ban_secret": SECRET, name: another(default)})
    [named] = differences(told(before), told(after))
    assert named.startswith(name)
    assert ("here" in named) == (name not in FINGERPRINTS)


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_setting_of_a_servers_own_is_not_compared(name: str) -> None:
    table, _, key = name.partition(".")
    default = getattr(getattr(config_with(), table), key)
    changed = config_with(
        **{name: ("another",) if default is None or isinstance(default, tuple | str) else another(default)}
    )
    assert told(changed) == told(config_with())


def test_the_database_and_the_ways_to_sign_in_are_compared() -> None:
    assert differences(told(config_with()), told(config_with(), database="two")) == [DATABASE]
    assert differences(told(config_with()), told(config_with(), ("worldid", "guest"))) == [
        f"{PROVIDERS} (guest here, guest, worldid there)"
    ]
    assert told(config_with(), ("a", "b")) == told(config_with(), ("b", "a"))


def test_what_only_one_of_two_servers_tells_is_not_compared() -> None:
    older = told(config_with(), database=None)
    del older["rooms.capacity"]
    assert differences(told(config_with()), {**older, "server.invented_later": "1"}) == []
    assert not {"server.secret", "server.ban_secret"} & set(told(config_with(**{"server.secret": None})))


def test_neither_the_secret_nor_the_database_can_be_read_from_it() -> None:
    texts = told(config_with(), database="libsql.example/mine")
    assert SECRET not in repr(texts)
    assert "libsql" not in repr(texts)
    assert len(texts["server.secret"]) == len(texts[DATABASE]) == 32
    assert told(config_with(**{"server.secret": SECRET + "x"}))["server.secret"] != texts["server.secret"]


OLD, NEW = "o" * 32, "n" * 32
STEPS: list[str | tuple[str, ...]] = [OLD, (OLD, NEW), (NEW, OLD), NEW]
"""How `server.secret` is replaced, one server after the other."""


@pytest.mark.parametrize("one", range(len(STEPS)))
@pytest.mark.parametrize("other", range(len(STEPS)))
def test_servers_agree_whose_secrets_are_one_step_apart(one: int, other: int) -> None:
    ours, theirs = (
        told(config_with(**{"server.secret": STEPS[step], "server.ban_secret": OLD})) for step in (one, other)
    )
    assert (differences(ours, theirs) == []) == (abs(one - other) <= 1)


def test_a_server_without_a_key_of_bans_names_people_by_its_secret() -> None:
    without, listed = config_with(), config_with(**{"server.secret": (SECRET, NEW), "server.ban_secret": SECRET})
    assert differences(told(without), told(listed)) == []
    lost = config_with(**{"server.secret": (SECRET, NEW), "server.ban_secret": NEW})
    assert differences(told(without), told(lost)) == ["server.ban_secret"]


def test_the_documentation_names_every_shared_setting() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/use-an-outside-redis.md").read_text()
    section = page.split("\n## What all servers share\n", 1)[1].split("\n## ", 1)[0]
    for name in SHARED:
        table, _, key = name.partition(".")
        assert f"`{name}`" in section or (f"`{key}`" in section and f"`[{table}]`" in section), name
