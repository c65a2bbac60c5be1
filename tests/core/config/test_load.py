"""The configuration: what is read, from where, in which order, and how everything that is wrong with it is told."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from evanesce.config import load
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError

SECRET = "correct-horse-battery-staple-0123456789"
ROOT = Path(__file__).parents[3]


class Kind(enum.Enum):
    A = "a"
    B = "b"


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: int = 1


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plugin's model that has a setting of every type."""

    key: str = "default"
    choice: Literal["staging", "production"] = "production"
    kind: Kind = Kind.A
    number: Annotated[int, msgspec.Meta(ge=1)] = 1
    maybe: str | None = None
    names: tuple[str, ...] = ()
    pair: tuple[str, int] = ("a", 1)
    either: str | list[str] = "x"
    labels: dict[str, str] = {}
    inner: Inner = Inner()
    file: str = ""

    def __post_init__(self) -> None:
        if self.key == "refused":
            raise ValueError("key is not to be that")


class Demanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    app_id: str


MODELS = {"example": Example, "demanding": Demanding, "plain": None}


class Reader:
    """Reads configurations in a folder of its own, with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}

    def source(self, text: str = "", options: Sequence[str] = (), enabled: Sequence[str] = ("example",)) -> load.Source:
        file = self.folder / "config.toml"
        file.write_text(text, "utf-8")
        return load.read(file, options, environ=self.environ, default_plugins=enabled)

    def __call__(self, text: str = "", options: Sequence[str] = (), enabled: Sequence[str] = ("example",)) -> Config:
        return self.source(text, options, enabled).config(MODELS)

    def refused(self, text: str = "", options: Sequence[str] = (), enabled: Sequence[str] = ("example",)) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self(text, options, enabled)
        return str(caught.value)


@pytest.fixture
def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path)


# What is read


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = load.read(environ={}, default_plugins=["example"])
    assert source.file is None
    assert source.enabled == ("example",)
    config = source.config(MODELS)
    assert config.messages.ttl == 60
    assert config.redis.url == "embedded"
    assert config.plugins == {"example": Example()}


def test_the_file_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("[messages]\nttl = 7")
    source = load.read(environ={}, default_plugins=[])
    assert source.file == Path("config.toml")
    assert source.config({}).messages.ttl == 7


def test_the_shipped_file_says_what_holds_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evanesce.plugins import Plugins, discovery

    monkeypatch.chdir(tmp_path)
    without = load.read(environ={}, default_plugins=discovery.defaults())
    shipped = load.read(ROOT / "config.toml", environ={}, default_plugins=[])
    assert sorted(without.enabled) == sorted(shipped.enabled)
    models = Plugins.load(shipped.enabled).settings()
    assert without.config(models) == shipped.config(models)


def test_plugins_keep_their_order_and_those_without_a_model_have_no_settings(reading: Reader) -> None:
    config = reading('[plugins]\nenabled = ["plain", "example"]\n[plugins.example]\nkey = "k"')
    assert list(config.plugins) == ["plain", "example"]
    assert config.plugins["plain"] is None
    assert config.plugins["example"].key == "k"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[messages]\r\nttl = 5\r\n")
    assert load.read(file, environ={}, default_plugins=[]).config({}).messages.ttl == 5


@pytest.mark.parametrize(
    "text",
    [
        "[plugins.nobody]\nwhatever = 1",
        '[plugins.nobody]\nkey = { env = "NOT_THERE" }',
        "[plugins.demanding]\nnot_its_key = nan",
    ],
)
def test_settings_of_plugins_that_are_not_enabled_are_not_read(reading: Reader, text: str) -> None:
    assert list(reading(text).plugins) == ["example"]


def test_overrides_for_plugins_that_are_not_enabled_are_not_read(reading: Reader) -> None:
    reading.environ["EVANESCE__PLUGINS__NOBODY__KEY"] = "not toml"
    assert list(reading("", ["plugins.somebody.key=", "plugins.somebody={a=1}"]).plugins) == ["example"]


# What overrides the file


def test_the_environment_overrides_the_file_and_options_override_both(reading: Reader) -> None:
    text = '[messages]\nttl = 1\nhistory = 1\ncontent_bytes = 1\n[plugins.example]\nkey = "file"'
    reading.environ = {
        "EVANESCE__MESSAGES__HISTORY": "2",
        "EVANESCE__MESSAGES__CONTENT_BYTES": "2",
        "EVANESCE__PLUGINS__EXAMPLE__KEY": "environment",
        "EVANESCE_SECRET": "of no concern",
        "evanesce__messages__ttl": "of no concern",
    }
    config = reading(text, ["messages.content_bytes=3", "messages.content_bytes=4"])
    assert (config.messages.ttl, config.messages.history, config.messages.content_bytes) == (1, 2, 4)
    assert config.plugins["example"].key == "environment"


OVERRIDES: list[tuple[str, Any]] = [
    ("key=as it is", "as it is"),
    ('key="quotes stay"', '"quotes stay"'),
    ("key=a=b=c", "a=b=c"),
    ("key=", ""),
    ("key=5", "5"),
    ('key={ env = "HOME" }', '{ env = "HOME" }'),
    ("maybe=text too", "text too"),
    ("choice=staging", "staging"),
    ("kind=b", Kind.B),
    ("number=5", 5),
    ("number=0x10", 16),
    ('names=["a", "b"]', ("a", "b")),
    ('names=[{ env = "NAME" }, "b"]', ("from the environment", "b")),
    ('pair=["b", { env = "NUMBER" }]', ("b", 6)),
    ('number={ env = "NUMBER" }', 6),
    ("either=text in words", "text in words"),
    ('either="quotes stay"', '"quotes stay"'),
    ("either=5", "5"),
    ('either=["a", { env = "NAME" }]', ["a", "from the environment"]),
    ('either=["a"]', ["a"]),
    ('labels={ a = "b" }', {"a": "b"}),
    ("labels.a=b", {"a": "b"}),
    ("inner={ depth = 4 }", Inner(4)),
    ("inner.depth=4", Inner(4)),
    ("file=a key may be called file", "a key may be called file"),
]


@pytest.mark.parametrize(("option", "value"), OVERRIDES, ids=[option for option, _ in OVERRIDES])
def test_an_override_is_text_where_text_is_declared_and_toml_elsewhere(
    reading: Reader, option: str, value: object
) -> None:
    reading.environ = {"NAME": "from the environment", "NUMBER": "6"}
    key = option.partition("=")[0].partition(".")[0]
    assert getattr(reading("", [f"plugins.example.{option}"]).plugins["example"], key) == value
    path, _, text = option.partition("=")
    reading.environ["EVANESCE__PLUGINS__EXAMPLE__" + path.replace(".", "__").upper()] = text
    assert getattr(reading().plugins["example"], key) == value


def test_the_enabled_plugins_can_be_overridden(reading: Reader) -> None:
    reading.environ["EVANESCE__PLUGINS__ENABLED"] = '["plain"]'
    assert reading.source('[plugins]\nenabled = ["example"]').enabled == ("plain",)
    assert reading.source("", ['plugins.enabled=["example", "plain"]']).enabled == ("example", "plain")


def test_a_whole_table_can_be_overridden(reading: Reader) -> None:
    config = reading('[plugins.example]\nkey = "k"\nnumber = 3', ["plugins.example={ number = 4 }"])
    assert config.plugins["example"] == Example(number=4)


# What stands elsewhere


def test_values_can_stand_in_the_environment_and_in_files(reading: Reader) -> None:
    reading.environ = {"KEY": "'as it is'", "TTL": "2.5", "ORIGINS": '["https://a.example"]', "EMPTY": ""}
    (reading.folder / "number.txt").write_text("7\n")
    (reading.folder / "secret.txt").write_text(f"{SECRET}\n")
    config = reading(
        """
        [server]
        secret = { file = "secret.txt" }
        origins = { env = "ORIGINS" }
        [messages]
        ttl = { env = "TTL" }
        [plugins.example]
        key = { env = "KEY" }
        maybe = { env = "EMPTY" }
        number = { file = "number.txt" }
        labels = { env = "a table is no reference" }
        """
    )
    assert config.server.secret == SECRET
    assert config.server.origins == ("https://a.example",)
    assert config.messages.ttl == 2.5
    assert config.plugins["example"] == Example(
        key="'as it is'", maybe="", number=7, labels={"env": "a table is no reference"}
    )


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a ", " a "), (b"", ""), ("é".encode(), "é")],
)
def test_one_line_end_is_taken_off_a_file(reading: Reader, content: bytes, value: str) -> None:
    (reading.folder / "key").write_bytes(content)
    assert reading('[plugins.example]\nkey = { file = "key" }').plugins["example"].key == value


def test_a_files_path_starts_from_the_working_folder_or_is_absolute(
    reading: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (reading.folder / "key").write_text("k")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    (elsewhere / "key").write_text("of the working folder")
    assert reading('[plugins.example]\nkey = { file = "key" }').plugins["example"].key == "of the working folder"
    absolute = f'[plugins.example]\nkey = {{ file = "{reading.folder / "key"}" }}'
    assert reading(absolute).plugins["example"].key == "k"


# What is wrong

WRONG: list[tuple[str, str, list[str]]] = [
    # the keys
    ("unknown key", "[messages]\ntll = 1", ["messages.tll: unknown key", "Did you mean messages.ttl?"]),
    (
        "unknown key, nothing near",
        "[rooms]\nzzz = 1",
        ["rooms.zzz: unknown key", "The known keys are capacity, guests_vote, roster_size"],
    ),
    ("unknown table", "[mesages]\nttl = 1", ["mesages: unknown key", "Did you mean messages?"]),
    ("key outside any table", "ttl = 1", ["ttl: unknown key", "limits, logs, messages, plugins"]),
    ("unknown key of a plugin", "[plugins.example]\nkye = 1", ["plugins.example.kye", "plugins.example.key?"]),
    ("unknown key further down", "[plugins.example.inner]\ndeep = 1", ["plugins.example.inner.deep: unknown key"]),
    ("not a plugin's table", '[plugins]\nenable = ["example"]', ["plugins.enable: unknown", "plugins.enabled?"]),
    ("a value for a table", "messages = 5", ["messages: expected a table", "Write [messages]"]),
    ("a value for all plugins", "plugins = 5", ["plugins: expected a table"]),
    ("a value for a plugin's table", "[plugins]\nexample = 5", ["plugins.example: unknown key"]),
    # the types
    ("text for a number", '[messages]\nttl = "60"', ["messages.ttl: expected a number, got text", "default is 60.0"]),
    ("a fraction for a whole number", "[limits]\nburst = 1.5", ["limits.burst: expected a whole number, got a number"]),
    ("a truth for a number", "[limits]\nburst = true", ["limits.burst: expected a whole number, got true or false"]),
    ("a number for text", "[redis]\nurl = 5", ["redis.url: expected text, got a whole number"]),
    ("text for a list", '[server]\norigins = "a"', ["server.origins: expected a list, got text"]),
    ("a number in a list", "[server]\norigins = [1]", ["server.origins[0]: expected text"]),
    ("a date", "[server]\npublic_url = 2026-11-22", ["server.public_url: expected text"]),
    ("too small", "[messages]\nttl = 0", ["messages.ttl: expected a number >= 0.1"]),
    ("too large", "[messages]\ncontent_bytes = 99999", ["messages.content_bytes: expected a whole number <="]),
    ("not a number", "[messages]\nttl = nan", ["messages.ttl: is not a finite number"]),
    ("infinite", "[limits]\nmessages_per_second = inf", ["limits.messages_per_second: is not a finite number"]),
    ("too short", '[server]\nsecret = "x"', ["server.secret: expected 32 or more characters"]),
    ("a secret with a space", f'[server]\nsecret = "{"x" * 40} "', ["server.secret: expected 32 or more characters"]),
    ("a secret with CR", f'[server]\nsecret = "{"x" * 40}\\r"', ["server.secret: expected 32 or more characters"]),
    (
        "a secret with a BOM",
        f'[server]\nsecret = "\ufeff{"x" * 40}"',
        ["server.secret: expected 32 or more characters"],
    ),
    (
        "no address",
        '[server]\npublic_url = "ftp://x"',
        ["server.public_url: expected an address that begins with http"],
    ),
    ("a line end at its end", '[server]\npublic_url = "http://x\\n"', ["server.public_url: expected an address"]),
    ("not a Redis", '[redis]\nurl = "http://x"', ["redis.url: expected embedded, or an address"]),
    ("an origin with a path", '[server]\norigins = ["https://a/"]', ["server.origins[0]: expected a page's origin"]),
    ("every origin", '[server]\norigins = ["*"]', ["server.origins[0]: expected a page's origin"]),
    ("no choice", '[plugins.example]\nchoice = "x"', ["plugins.example.choice: expected one of production, staging"]),
    ("no member", '[plugins.example]\nkind = "x"', ["plugins.example.kind: expected one of a, b"]),
    ("wrong in a table", "[plugins.example.labels]\na = 1", ["plugins.example.labels[...]: expected text"]),
    ("wrong in a list", "[plugins.example]\nnames = [1]", ["plugins.example.names[0]: expected text"]),
    ("a text too many", '[plugins.example]\npair = ["a"]', ["plugins.example.pair: expected a list of length 2"]),
    ("refused by the model", '[plugins.example]\nkey = "refused"', ["plugins.example: key is not to be that"]),
    # references
    ("no variable", '[redis]\nurl = { env = "NOPE" }', ["redis.url: the environment variable NOPE is not set"]),
    ("no file", '[redis]\nurl = { file = "nope" }', ["redis.url: the file", "nope cannot be read (No such file"]),
    ("a folder", '[redis]\nurl = { file = "." }', ["redis.url: the file", "cannot be read (Is a directory)"]),
    ("no name", "[redis]\nurl = { env = 5 }", ["redis.url: env is not followed by a name"]),
    ("two references", '[redis]\nurl = { env = "A", file = "b" }', ["redis.url: expected text, got a table"]),
    ("a table for a table", '[redis]\nenv = "HOME"', ["redis.env: unknown key"]),
    # the plugins
    ("a name for the list", '[plugins]\nenabled = "example"', ["plugins.enabled: expected a list, got text"]),
    ("a plugin twice", '[plugins]\nenabled = ["example", "example"]', ["plugins.enabled: names 'example' twice"]),
    # between settings
    ("Redis without a secret", '[redis]\nurl = "redis://h"', ["server.secret: must be set for an outside Redis"]),
    ("workers without a secret", "[server]\nworkers = 2", ["server.secret: must be set for more than one worker"]),
    (
        "cluster",
        "[redis]\ncluster = true",
        ["redis.cluster: the embedded Valkey is not a cluster", "redis://HOST:PORT"],
    ),
    (
        "frames too small",
        "[limits]\nframe_bytes = 4096",
        ["limits.frame_bytes", "messages.content_bytes", "25088 or more"],
    ),
    ("frames too small for escapes", "[limits]\nframe_bytes = 25087", ["limits.frame_bytes", "25088 or more"]),
    (
        "TTLs that exclude each other",
        "[messages]\nshortest_ttl = 90\nlongest_ttl = 60.5",
        ["messages.shortest_ttl: is longer than messages.longest_ttl of 60.5", "Set it to 60.5 or less"],
    ),
    (
        "a TTL above the longest",
        "[messages]\nttl = 90\nlongest_ttl = 60",
        ["messages.ttl: is longer than messages.longest_ttl of 60", "Set messages.longest_ttl to 90 or more"],
    ),
    # the file
    ("not TOML", "[messages]\nttl = ", ["config.toml: is not TOML", "line 2"]),
    ("a key twice", "[messages]\nttl = 1\nttl = 2", ["config.toml: is not TOML", "line 3"]),
    ("too long a number", f"[limits]\nburst = {'9' * 5000}", ["config.toml: is not TOML"]),
    ("too deep", f"[limits]\nburst = {'[' * 50_000}", ["config.toml: is not TOML"]),
]


@pytest.mark.parametrize(("text", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_told_with_its_path_and_what_to_do(reading: Reader, text: str, told: Sequence[str]) -> None:
    message = reading.refused(text)
    for part in told:
        assert part in message
    assert "\n" not in message


def test_a_key_that_is_missing_is_told(reading: Reader) -> None:
    assert "plugins.demanding.app_id: is missing" in reading.refused(enabled=["demanding"])


def test_a_plugin_without_settings_takes_none(reading: Reader) -> None:
    message = reading.refused("[plugins.plain]\nkey = 1", enabled=["plain"])
    assert "plugins.plain.key: unknown key. This table has no keys" in message


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "named.toml"
    with pytest.raises(ConfigurationError, match=r"named\.toml: cannot be read \(No such file"):
        load.read(file, environ={}, default_plugins=[])
    file.write_bytes(b"# \xff")
    with pytest.raises(ConfigurationError, match=r"named\.toml: is not UTF-8 text"):
        load.read(file, environ={}, default_plugins=[])


@pytest.mark.parametrize("option", ["", "messages", "messages.ttl", "ttl=5", "=5", "messages.=5", ".ttl=5"])
def test_an_option_that_names_no_setting_is_told(reading: Reader, option: str) -> None:
    assert "--set: is not followed by table.key=value" in reading.refused("", [option])


@pytest.mark.parametrize("name", ["EVANESCE__TTL", "EVANESCE__", "EVANESCE__MESSAGES__", "EVANESCE__A____B"])
def test_a_variable_that_names_no_setting_is_told(reading: Reader, name: str) -> None:
    reading.environ[name] = "5"
    assert f"{name}: does not name a setting" in reading.refused()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("messages.tll=5", "messages.tll: unknown key. Did you mean messages.ttl?"),
        ("mesages.ttl=5", "mesages: unknown key. Did you mean messages?"),
        ("plugins.enable=5", "plugins.enable: unknown key. Did you mean plugins.enabled?"),
        ("messages.ttl=soon", "messages.ttl: the value from --set messages.ttl is not a TOML value"),
        ("messages.ttl=5\nhistory=1", "messages.ttl: the value from --set messages.ttl is not a TOML value"),
        ("messages.ttl=", "messages.ttl: the value from --set messages.ttl is not a TOML value"),
        ("messages.ttl=0", "The value comes from --set messages.ttl"),
        ("messages.ttl.x=0", "messages.ttl: expected a number, got a table"),
        ("plugins.enabled.x=0", "plugins.enabled: expected a table"),
        ("server.origins=[1]", "server.origins[0]: expected text"),
    ],
)
def test_an_override_that_is_wrong_is_told_with_its_origin(reading: Reader, option: str, told: str) -> None:
    assert told in reading.refused("", [option])


def test_the_variable_that_gave_a_wrong_value_is_named(reading: Reader) -> None:
    reading.environ["EVANESCE__MESSAGES__TTL"] = "0"
    assert "The value comes from the environment variable EVANESCE__MESSAGES__TTL" in reading.refused()


# Secrets

LEAKS: list[tuple[str, Mapping[str, str], Sequence[str]]] = [
    ('[server]\nsecret = "S3CR3T"', {}, ()),
    ('[server]\nsecret = ["S3CR3T"]', {}, ()),
    ('[redis]\nurl = "S3CR3T"', {}, ()),
    ('[server]\nsecret = { env = "KEY" }', {"KEY": "S3CR3T"}, ()),
    ('[server]\nsecret = { file = "secret" }', {}, ()),
    ('[messages]\nttl = { env = "KEY" }', {"KEY": "S3CR3T"}, ()),
    ('[messages]\nttl = { file = "secret" }', {}, ()),
    ('[plugins.example]\nchoice = "S3CR3T"', {}, ()),
    ('[plugins.example]\nkind = "S3CR3T"', {}, ()),
    ("", {"EVANESCE__SERVER__SECRET": "S3CR3T"}, ()),
    ("", {"EVANESCE__MESSAGES__TTL": "S3CR3T"}, ()),
    ("", {}, ["server.secret=S3CR3T"]),
    ("", {}, ["server.secret S3CR3T"]),
    ("", {}, ["plugins.example.number=S3CR3T"]),
    ('[server]\nsecret = "S3CR3T', {}, ()),
]


@pytest.mark.parametrize(("text", "environ", "options"), LEAKS)
def test_no_value_is_ever_told(reading: Reader, text: str, environ: Mapping[str, str], options: Sequence[str]) -> None:
    (reading.folder / "secret").write_text("S3CR3T")
    reading.environ = dict(environ)
    with pytest.raises(ConfigurationError) as caught:
        reading(text, options)
    error: BaseException | None = caught.value
    while error is not None:  # nor by what it came from, which a traceback would show
        assert "S3CR3T" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_configuration_can_be_written_down_without_its_secrets(reading: Reader) -> None:
    source = reading.source(f'[server]\nsecret = "{SECRET}"')
    config = source.config(MODELS)
    assert config.server.secret == SECRET
    for value in (source, config, config.server, config.redis):
        assert SECRET not in repr(value)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.0/33", ""])
def test_an_exempt_address_has_to_be_a_network(reading: Reader, text: str) -> None:
    refusal = reading.refused(f'[limits]\nexempt_addresses = ["{text}"]')
    assert refusal.startswith("limits.exempt_addresses")


def test_encryption_without_its_package_is_refused(reading: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[messages]\nencrypt_at_rest = true\n"
    assert reading(text).messages.encrypt_at_rest
    monkeypatch.setattr("evanesce.config.rules.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as refusal:
        reading(text)
    assert "messages.encrypt_at_rest" in str(refusal.value)
    assert "evanesce[encryption]" in str(refusal.value)
