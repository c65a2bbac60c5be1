"""The command line, run as deployers run it: a process, its exit code, and what it prints."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SECONDS = 60.0
SECRET = "S3CR3T-correct-horse-battery-staple-0123456789"


def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
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
    for command in ("serve", "check", "plugins", "chat"):
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
    assert entries["greeting"] == ("not enabled greeting 2.0", "evanesce_cli_commands")
    assert "No module named 'nothing_of_this_name'" in entries["unimportable"][1]


# commands that plugins add


def test_a_plugins_command_runs_whether_it_is_enabled_or_not(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "greet", "world", environ=plugin)
    assert (done.returncode, done.stdout) == (3, "hello world\n")
    assert "greet somebody" in run(tmp_path, "--help", environ=plugin).stdout


def test_a_command_whose_arguments_fail_is_left_out(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "plugins", environ=plugin)
    assert done.returncode == 0
    assert "the command broken of a plugin is left out: its arguments failed [ValueError at " in done.stderr
    assert "S3CR3T" not in done.stderr


def test_a_fault_is_told_on_one_line_without_its_text(tmp_path: Path, plugin: Mapping[str, str]) -> None:
    done = run(tmp_path, "fails", environ=plugin)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "CRITICAL evanesce.cli.faults ended by a fault [ValueError at greeting.py:" in line
    assert "S3CR3T" not in done.stderr


# check


def bind_of_nobody() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_check_says_how_each_part_is(tmp_path: Path) -> None:
    bind = bind_of_nobody()
    done = run(tmp_path, "check", "--set", f"plugins.quart.bind={bind}")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line[:5] in ("ok   ", "warn ") for line in lines)
    assert lines[0] == "ok   configuration: the defaults: there is no config.toml here"
    assert "ok   secret: will be made at the first start and kept in evanesce.secret" in lines
    for part in ("plugins", "redis", "database", "sign-in guest"):
        assert any(line.startswith(f"ok   {part}: ") for line in lines), part
    assert f"ok   transport quart: {bind} is free" in lines
    assert not (tmp_path / "evanesce.secret").exists()


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
    [failure] = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    assert failure.startswith("FAIL redis: ")
    assert "ok   secret: configured" in done.stdout
    assert "ok   database: " in done.stdout
    assert "S3CR3T" not in done.stdout + done.stderr


def test_check_fails_where_the_database_cannot_be_opened(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "--set", "plugins.sqlite.path=nowhere/evanesce.db")
    assert done.returncode == 1
    [failure] = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    assert failure.startswith("FAIL database: plugins.sqlite.path: ")
    assert "Traceback" not in done.stderr


def test_check_tells_of_an_address_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(tmp_path, "check", "--set", f"plugins.quart.bind={bind}")
    assert f"warn transport quart: {bind} is in use" in done.stdout
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
    assert "FAIL transport quart: 192.0.2.1:8000 cannot be listened on (Cannot assign requested address)" in done.stdout
    assert done.returncode == 1


def test_check_refuses_a_secret_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "evanesce.secret"
    file.write_text(SECRET)
    file.chmod(0o644)
    done = run(tmp_path, "check")
    assert done.returncode == 2
    assert "others on this machine may read it" in done.stderr
    assert SECRET not in done.stderr
