"""The command line, run as deployers run it: a process, its exit code, and what it prints."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.checks import failure, rows
from tests.ports import free_port

pytestmark = pytest.mark.slow

SECONDS = 60.0
SECRET = "S3CR3T-correct-horse-battery-staple-0123456789"


def run(
    folder: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `evanesce` in `folder`, without anything of this environment that would configure it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVANESCE")}
    return subprocess.run(
        [sys.executable, "-m", "evanesce", *arguments],
        cwd=folder,
        env={**inherited, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=preexec_fn,
    )


@pytest.fixture
def plugin(tmp_path: Path) -> Mapping[str, str]:
    """Install, for processes that get what this gives as their environment, plugins that add to the command line."""
    site = tmp_path / "site"
    for name, code in {
        "greeting": """
            from evanesce.hookspecs import hookimpl
            from evanesce.interfaces import CliCommand

            def arguments(parser):
                parser.add_argument("name")

            def run(options):
                print(f"hello {options.name}")
                return 3

            def broken(parser):
                raise ValueError("S3CR3T")

            def fails(options):
                raise ValueError("S3CR3T")

            @hookimpl
            def evanesce_cli_commands():
                return [
                    CliCommand("greet", "greet somebody", arguments, run),
                    CliCommand("broken", "has no arguments", broken, run),
                    CliCommand("fails", "raises", lambda parser: None, fails),
                ]
        """,
        "unimportable": "import nothing_of_this_name",
        "tomorrow": 'evanesce_api = "99.0"',
        "reader": """
            from evanesce.hookspecs import hookimpl

            @hookimpl
            async def evanesce_filter_message(draft):
                return None
        """,
    }.items():
        metadata = site / f"{name}-2.0.dist-info"
        metadata.mkdir(parents=True)
        lines = code.splitlines()
        (site / f"{name}.py").write_text("\n".join(line.removeprefix(" " * 12) for line in lines))
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
        (metadata / "entry_points.txt").write_text(f"[evanesce.plugins]\n{name} = {name}\n")
    return {"PYTHONPATH": str(site)}


def test_the_version(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("evanesce ")


def test_help_says_which_commands_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    for command in ("serve", "check", "audit", "plugins", "chat"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "the following arguments are required: COMMAND. See evanesce --help"),
        (("frob",), "argument COMMAND: invalid choice: 'frob'"),
        (("serve", "--frob"), "unrecognized arguments: --frob"),
        (("serve", "--workers", "x"), "argument --workers: invalid int value: 'x'. See evanesce serve --help"),
        (("serve", "a\nb"), "unrecognized arguments: a\\nb"),
        (("chat",), "the following arguments are required: LINK. See evanesce chat --help"),
        (("greet",), "the following arguments are required: name. See evanesce greet --help"),
    ],
)
def test_wrong_arguments_are_told_on_one_line(
    tmp_path: Path, plugin: Mapping[str, str], arguments: Sequence[str], told: str
) -> None:
    done = run(tmp_path, *arguments, environ=plugin)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = [line for line in done.stderr.splitlines() if "command broken" not in line]
    assert line.startswith(f"evanesce: {told}")


# What is wrong with the configuration: one line, exit code 2

WRONG: list[tuple[str, str, Sequence[str], Mapping[str, str], str]] = [
    ("unknown key", "[messages]\ntll = 5", (), {}, "messages.tll: unknown key. Did you mean messages.ttl?"),
    ("unknown key of a plugin", "[plugins.guest]\nallow = true", (), {}, "plugins.guest.allow: unknown key"),
    ("wrong type", '[messages]\nttl = "soon"', (), {}, "messages.ttl: expected a number, got text"),
    (
        "wrong type of a plugin",
        "[plugins.guest]\nallow_public = 1",
        (),
        {},
        "plugins.guest.allow_public: expected true",
    ),
    ("unknown plugin", '[plugins]\nenabled = ["gest"]', (), {}, "plugins.enabled: no plugin 'gest' is installed"),
    ("broken plugin", '[plugins]\nenabled = ["unimportable"]', (), {}, "plugin 'unimportable'"),
    (
        "plugin for another version of the API",
        '[plugins]\nenabled = ["tomorrow"]',
        (),
        {},
        "plugin 'tomorrow': it is made for version 99.0 of the plugin API, and this version of Evanesce has 1.0",
    ),
    (
        "plugin that does not say that it sees content",
        '[plugins]\nenabled = ["reader"]',
        (),
        {},
        "plugin 'reader': evanesce_filter_message is handed the content of messages, and the plugin does not declare",
    ),
    (
        "no repository",
        '[plugins]\nenabled = ["guest", "quart"]',
        (),
        {},
        "plugins.enabled: needs exactly one repository",
    ),
    ("missing variable", '[server]\nsecret = { env = "NOPE" }', (), {}, "server.secret: the environment variable NOPE"),
    ("missing file", '[server]\nsecret = { file = "nope" }', (), {}, "server.secret: the file nope cannot be read"),
    ("not TOML", "[messages\n", (), {}, "config.toml: is not TOML"),
    ("wrong option", "", ("--set", "messages.ttl=0"), {}, "The value comes from --set messages.ttl"),
    ("wrong variable", "", (), {"EVANESCE__MESSAGES__TTL": "0"}, "environment variable EVANESCE__MESSAGES__TTL"),
    ("workers without a secret", "", ("--set", "server.workers=2"), {}, "server.secret: must be set for more than one"),
    (
        "an outside Redis without a secret",
        "",
        ("--set", "redis.url=redis://:S3CR3T@h"),
        {},
        "server.secret: must be set",
    ),
    ("no such file", "", ("--config", "nope.toml"), {}, "nope.toml: cannot be read"),
    ("a key of two lines", '[messages]\n"a\\nb" = 5', (), {}, "messages.a\\nb: unknown key"),
    (
        "an option of redis.url that does not exist",
        f'[server]\nsecret = "{SECRET}"\n[redis]\nurl = "redis://:S3CR3T@h?tiemout=1"',
        (),
        {},
        "redis.url: has an option that does not exist. Known are: client_name, db",
    ),
    ("no folder for metrics", "", (), {"PROMETHEUS_MULTIPROC_DIR": "nope"}, "PROMETHEUS_MULTIPROC_DIR: "),
    ("a long temporary folder", "", (), {"TMPDIR": "LONG"}, "redis.url: the temporary folder's path is too long"),
    ("guests from elsewhere", "", ("--set", "server.public_url=http://chat.example"), {}, "plugins.guest.allow_public"),
]


@pytest.mark.parametrize(
    ("text", "options", "environ", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_one_clear_line_and_exit_code_2(
    tmp_path: Path,
    plugin: Mapping[str, str],
    text: str,
    options: Sequence[str],
    environ: Mapping[str, str],
    told: str,
) -> None:
    (tmp_path / "config.toml").write_text(text)
    if environ.get("TMPDIR"):  # a folder that is there, or Python takes another one
        long = tmp_path / ("long" * 25)
        long.mkdir()
        environ = {"TMPDIR": str(long)}
    done = run(tmp_path, "serve", *options, environ={**plugin, **environ})
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if "command broken" not in line]
    assert line.startswith("evanesce: ")
    assert told in line
    assert "S3CR3T" not in done.stderr
    assert not (tmp_path / "evanesce.db").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("server.public_url=http://chat.example", "plugins.guest.allow_public: "),
        ('plugins.enabled=["guest", "quart"]', "plugins.enabled: needs exactly one repository"),
    ],
)
def test_one_clear_line_without_a_file_too(tmp_path: Path, option: str, told: str) -> None:
    done = run(tmp_path, "serve", "--set", option)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"evanesce: {told}")


def test_check_refuses_what_serve_refuses(tmp_path: Path) -> None:
    done = run(tmp_path, "check", environ={"PROMETHEUS_MULTIPROC_DIR": "nope"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "evanesce: PROMETHEUS_MULTIPROC_DIR: this environment variable does not name a folder"
    )


@pytest.mark.parametrize("command", ["check", "plugins"])
def test_the_other_commands_refuse_in_the_same_way(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "--set", "messages.tll=5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "evanesce: messages.tll: unknown key. Did you mean messages.ttl?\n"


def test_the_option_for_workers_is_the_setting(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--workers", "2")
    assert done.returncode == 2
    assert "more than one worker" in done.stderr
    [_] = done.stderr.splitlines()


# plugins


def test_plugins_lists_what_is_installed_and_enabled(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "plugins", "--set", 'plugins.enabled=["guest", "nobody"]', environ=plugin)
    assert done.returncode == 1  # an enabled one is not installed
    blocks = dict(zip(*[iter(done.stdout.splitlines())] * 2, strict=True))
    entries = {head.split()[0]: (" ".join(head.split()[1:]), rest.strip()) for head, rest in blocks.items()}
    assert list(entries)[:2] == ["guest", "nobody"]
    assert entries["guest"][0].startswith("enabled evanesce ")
    assert entries["guest"][1].split(", ") == [
        "evanesce_authenticator",
        "evanesce_http_routes",
        "evanesce_settings",
        "evanesce_sign_in_page",
    ]
    assert entries["nobody"] == ("enabled not installed", entries["nobody"][1])
    assert entries["nobody"][1].startswith("cannot be used: plugins.enabled: no plugin 'nobody' is installed")
    told = "not enabled greeting 2.0, API 1.0, does not see content"
    assert entries["greeting"] == (told, "evanesce_cli_commands")
    assert entries["quart"][0].endswith(", API 1.0, sees content")
    assert "No module named 'nothing_of_this_name'" in entries["unimportable"][1]
    assert entries["tomorrow"][1].startswith("cannot be used: plugin 'tomorrow': it is made for version 99.0")
    assert entries["reader"][1].startswith("cannot be used: plugin 'reader': evanesce_filter_message is handed")


# commands that plugins add


def test_a_plugins_command_runs_whether_it_is_enabled_or_not(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "greet", "world", environ=plugin)
    assert (done.returncode, done.stdout) == (3, "hello world\n")
    assert "greet somebody" in run(tmp_path, "--help", environ=plugin).stdout


def test_a_command_whose_arguments_fail_is_left_out(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "plugins", environ=plugin)
    assert done.returncode == 0
    assert (
        "the command broken is left out: plugin 'greeting': the arguments of its command broken failed: " in done.stderr
    )
    assert "S3CR3T" not in done.stderr


def test_a_fault_is_told_on_one_line_without_its_text(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "fails", environ=plugin)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert (
        "CRITICAL evanesce.cli.exit_status plugin greeting: its command fails failed: ValueError at greeting.py:"
        in line
    )
    assert "S3CR3T" not in done.stderr


# check


def bind_of_nobody() -> str:
    return f"127.0.0.1:{free_port()}"


def test_check_says_how_each_part_is(tmp_path: Path) -> None:
    bind = bind_of_nobody()
    done = run(tmp_path, "check", "--set", f"plugins.quart.bind={bind}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    assert {row.status for row in found} <= {"ok", "warn"}
    assert found[0] == ("configuration", "ok", "the defaults, because there is no config.toml here", "")
    assert ("secret", "ok", "will be generated at the first start and kept in evanesce.secret", "") in found
    told = "guest, quart, sqlite; content is seen by quart; version 1.0 of the plugin API"
    assert [row[2] for row in found if row.part == "plugins"] == [told]
    assert {"plugins", "redis", "database", "sign-in guest"} <= {row.part for row in found if row.status == "ok"}
    assert ("expiry", "ok", "no server has erased anything in the last minute", "") in found
    assert ("transport quart", "ok", f"{bind} is free", "") in found
    assert not (tmp_path / "evanesce.secret").exists()


def test_check_gives_the_same_as_one_json_object(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ("--set", f"plugins.quart.bind=127.0.0.1:{taken.getsockname()[1]}")
        table = rows(run(tmp_path, "check", *settings).stdout)
        done = run(tmp_path, "check", "--json", *settings)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], list(told)) == (0, True, ["ok", "checks"])
    assert all(list(check) == ["part", "status", "detail", "advice"] for check in told["checks"])
    found = [(check["part"], check["status"], check["advice"]) for check in told["checks"]]
    assert found == [(row.part, row.status, row.advice) for row in table]
    assert ("transport quart", "warn", found[-1][2]) == found[-1]
    assert found[-1][2]


@pytest.mark.parametrize("setting", ["messages.ttl=-4", "redis.url=http://S3CR3T@here", 'plugins.enabled=["guest"]'])
def test_a_refused_configuration_is_json_too(tmp_path: Path, setting: str) -> None:
    plain, done = run(tmp_path, "check", "--set", setting), run(tmp_path, "check", "--json", "--set", setting)
    assert (plain.returncode, done.returncode) == (2, 2)
    assert (plain.stdout, plain.stderr) == ("", done.stderr)
    told = json.loads(done.stdout)
    [check] = told["checks"]
    assert not told["ok"]
    assert (check["part"], check["status"]) == ("configuration", "fail")
    assert check["detail"]
    assert check["detail"] in done.stderr
    assert check["advice"] in done.stderr
    assert "S3CR3T" not in done.stdout


@pytest.mark.parametrize(
    ("hard", "options", "expected"),
    [
        (20_000, (), "ok 20000 for each process"),
        (1_000, (), "warn each process may open 1000, of which clients get 936"),
        (1_000, ("--set", "rooms.capacity=900"), "ok 1000 for each process"),
        (1_000, ("--set", "server.workers=20", "--set", f"server.secret={SECRET}"), "ok 1000"),
    ],
)
def test_check_tells_of_too_few_descriptors(tmp_path: Path, hard: int, options: tuple[str, ...], expected: str) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))  # the soft limit is raised

    done = run(tmp_path, "check", "--set", f"plugins.quart.bind={bind_of_nobody()}", *options, preexec_fn=limit)
    [found] = [row for row in rows(done.stdout) if row.part == "descriptors"]
    assert f"{found.status} {found.detail}".startswith(expected)
    assert ("LimitNOFILE=" in found.advice) == (found.status == "warn")
    assert done.returncode == 0


def test_check_fails_where_redis_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[server]\nsecret = "{SECRET}"')
    address = bind_of_nobody()
    done = run(
        tmp_path,
        "check",
        "--set",
        f"redis.url=redis://:S3CR3T@{address}",
        "--set",
        f"plugins.quart.bind={bind_of_nobody()}",
    )
    assert done.returncode == 1
    assert failure(done.stdout).part == "redis"
    assert ("secret", "ok", "configured", "") in rows(done.stdout)
    assert "database" in {row.part for row in rows(done.stdout) if row.status == "ok"}
    assert "S3CR3T" not in done.stdout + done.stderr


def test_check_fails_where_the_database_cannot_be_opened(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--set", "plugins.sqlite.path=nowhere/evanesce.db")
    assert done.returncode == 2
    failed = failure(done.stdout)
    assert failed.part == "database"
    assert failed.detail.startswith("plugins.sqlite.path: ")
    assert failed.advice
    assert "Traceback" not in done.stderr


def test_check_tells_of_an_address_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(tmp_path, "check", "--set", f"plugins.quart.bind={bind}")
    [found] = [row for row in rows(done.stdout) if row.part == "transport quart"]
    assert (found.status, found.detail) == ("warn", f"{bind} is in use")
    assert done.returncode == 0


def test_check_fails_for_an_address_that_is_not_of_this_machine(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "check",
        "--set",
        "plugins.quart.bind=192.0.2.1:8000",
        "--set",
        "plugins.guest.allow_public=true",
    )
    failed = failure(done.stdout)
    assert failed.part == "transport quart"
    assert failed.detail == "cannot listen on 192.0.2.1:8000 (Cannot assign requested address)"
    assert done.returncode == 1


def test_check_refuses_a_secret_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "evanesce.secret"
    file.write_text(SECRET)
    file.chmod(0o644)
    done = run(tmp_path, "check")
    assert done.returncode == 2
    assert "others on this machine may read it" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("arguments", [["schema", "json"], ["plugins"]], ids=" ".join)
def test_a_command_whose_output_nobody_reads_ends_in_silence(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "evanesce", *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_check_looks_at_the_address_for_operators(tmp_path: Path) -> None:
    settings = (f"plugins.quart.bind=127.0.0.1:{free_port()}", f"admin.token={'t' * 32}")
    for bind, code, told in (
        ("unix:admin.sock", 0, "unix:admin.sock is free"),
        ("unix:nowhere/admin.sock", 1, "cannot listen on unix:nowhere/admin.sock"),
    ):
        words = [word for setting in (*settings, f"admin.bind={bind}") for word in ("--set", setting)]
        done = run(tmp_path, "check", *words)
        assert (done.returncode, told in done.stdout) == (code, True), done.stdout
