"""Settings that are a secret or a list of secrets: what is taken from each place, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from evanesce.config import kinds, load
from evanesce.config.model import MOST_SECRETS, Config, secrets_of
from evanesce.errors import ConfigurationError
from evanesce_plugins.worldid.settings import WorldIdSettings

NEW, OLD = "n" * 40, "o" * 40
BAN = f"server.ban_secret={OLD}"
KEYS = ["server.secret", "admin.token"]


def config(text: str, *options: str, **environ: str) -> Config:
    Path("config.toml").write_text(text)
    return load.read(None, [BAN, *options], environ=environ, default_plugins=[]).config({})


def found(read: Config, key: str) -> tuple[str, ...]:
    return secrets_of(read.server.secret if key == "server.secret" else read.admin.token)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").write_text(f"{NEW}\n")
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "both").write_text(f'["{NEW}", "{OLD}"]\n')
    return tmp_path


def table(key: str, value: str) -> str:
    name, _, setting = key.partition(".")
    return f"[{name}]\n{setting} = {value}\n"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value",
    [
        f'["{NEW}", "{OLD}"]',
        '[{ file = "new" }, { file = "old" }]',
        '[{ env = "NEW" }, { file = "old" }]',
        '{ env = "BOTH" }',
        '{ file = "both" }',
    ],
)
def test_a_list_keeps_its_order_wherever_it_is_written(key: str, value: str) -> None:
    read = config(table(key, value), NEW=NEW, BOTH=f'["{NEW}", "{OLD}"]')
    assert found(read, key) == (NEW, OLD)


@pytest.mark.parametrize("key", KEYS)
def test_an_option_is_one_secret_or_a_list(key: str) -> None:
    assert found(config("", f"{key}={NEW}"), key) == (NEW,)
    assert found(config("", f'{key}=["{NEW}", "{OLD}"]'), key) == (NEW, OLD)
    assert found(config("", f'{key}=[{{ file = "new" }}, "{OLD}"]'), key) == (NEW, OLD)
    for text in ("1" * 40, f"[{NEW}", f'"{NEW}"'):
        assert found(config("", f"{key}={text}"), key) == (text,), "only a value in brackets is a list"


REFUSED = {
    "empty": ("[]", "expected a list of 1 or more values"),
    "too long": (str([letter * 32 for letter in "abcde"]), f"expected a list of at most {MOST_SECRETS} values"),
    "a short one": (f'["{NEW}", "S3CR3T"]', "expected 32 or more characters"),
    "a number": (f'["{NEW}", 5]', "expected text"),
    "twice": (f'["{NEW}", "{OLD}", "{NEW}"]', "is the same as"),
    "twice by a file": (f'["{NEW}", {{ file = "new" }}]', "is the same as"),
    "no file": ('[{ file = "nowhere" }]', "the file nowhere cannot be read"),
    "no TOML": ('{ env = "BAD" }', "is not a TOML value"),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("value", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_list_that_nobody_means_is_refused(key: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config(table(key, value), BAD=f"[{NEW},{OLD}]")
    assert refused.value.path.startswith(key)
    assert problem in refused.value.problem
    for secret in (NEW, OLD, "S3CR3T"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("value", [f'["{NEW}", "{OLD}"]', f'["{NEW}"]'])
def test_a_list_is_refused_without_the_key_of_bans(value: str) -> None:
    Path("config.toml").write_text(table("server.secret", value))
    with pytest.raises(ConfigurationError) as refused:
        load.read(None, [], environ={}, default_plugins=[]).config({})
    assert refused.value.path == "server.ban_secret"
    assert "ends all bans" in refused.value.problem


@pytest.mark.parametrize("model", [Config, WorldIdSettings], ids=lambda model: model.__name__)
def test_no_text_with_a_pattern_may_be_a_list_as_well(model: type[msgspec.Struct]) -> None:
    """Msgspec 0.22 corrupts the memory of the process when it frees such a type."""

    def beside_lists(kind: inspect.Type) -> Iterator[inspect.Type]:
        kind = kinds.plain(kind)
        if isinstance(kind, inspect.StructType):
            for field in kind.fields:
                yield from beside_lists(field.type)
        elif kinds.list_beside_text(kind) is not None:
            assert isinstance(kind, inspect.UnionType)
            yield from map(kinds.plain, kind.types)

    texts = [one for one in beside_lists(inspect.type_info(model)) if isinstance(one, inspect.StrType)]
    assert texts, "the settings have such values"
    assert [text for text in texts if text.pattern is not None] == []
