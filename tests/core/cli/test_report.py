"""The table of `evanesce check`, and its JSON."""

from __future__ import annotations

import json

import pytest

from evanesce.cli import report as module
from evanesce.cli.report import Report
from evanesce.errors import AuthUnavailable, ConfigurationError, PluginError, StoreUnavailable
from tests.checks import rows


def test_each_check_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.ok("secret", "configured")
    first = capsys.readouterr().out
    assert rows(first) == [("secret", "ok", "configured", "")]
    report.warn("redis", "it is slow", "Look at it.")
    assert not report.failed
    report.fail("a part with a very long name", "it is gone")
    assert report.failed
    rest = capsys.readouterr().out
    assert rows(first + rest)[1:] == [
        ("redis", "warn", "it is slow", "Look at it."),
        ("a part with a very long name", "FAIL", "it is gone", ""),
    ]
    report.finish()
    assert not capsys.readouterr().out


def test_a_terminal_shows_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    detail, advice = "many words " * 20, "something to do " * 9
    Report().warn("redis", detail, advice)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    cells = [[cell.strip() for cell in (line + " | | ").split(" | ")[:3]] for line in lines[1:]]
    parts, details, advices = zip(*cells, strict=True)
    assert "".join(parts) == "redis"
    assert " ".join(details).split() == ["warn", *detail.split()]
    assert " ".join(advices).split() == advice.split()


@pytest.mark.parametrize("before", range(1, 30))
def test_columns_do_not_break_at_hyphens(
    before: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    path = "/srv/our-chat/evan.db"
    Report().ok("database", f"{'x' * before} {path}, 122880 bytes")
    assert path in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_are_shown_and_not_sent(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=as_json)
    nasty = "\x1b[2J\r\n\x9b\u2028\u202e\ud800|"
    report.fail("redis\n", nasty, nasty)
    report.finish()
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\r\x9b\u2028\ud800")
    assert out.count("\n") == (1 if as_json else 2)
    if as_json:
        assert json.loads(out)["checks"] == [{"part": "redis\n", "status": "fail", "detail": nasty, "advice": nasty}]


@pytest.mark.parametrize(
    ("error", "detail", "advice"),
    [
        (ConfigurationError("redis.url", "it is wrong", "Correct it."), "redis.url: it is wrong", "Correct it."),
        (StoreUnavailable("It is away.", advice="Start it."), "It is away.", "Start it."),
        (AuthUnavailable("It is away."), "It is away.", ""),
        (PluginError("odd", "it does nothing"), "plugin 'odd': it does nothing", ""),
        (ExceptionGroup("", [ConfigurationError("key", "wrong", "Do.")]), "key: wrong", "Do."),
        (ValueError("S3CR3T"), "ValueError", ""),
    ],
)
def test_what_was_raised_is_told_with_what_to_do(
    error: Exception, detail: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report()
    report.fault("redis", error)
    assert rows(capsys.readouterr().out) == [("redis", "FAIL", detail, advice)]


def test_json_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=True)
    report.ok("secret", "configured")
    assert not capsys.readouterr().out
    report.finish()
    report.refuse(ValueError())
    told = json.loads(capsys.readouterr().out)
    assert told == {"ok": True, "checks": [{"part": "secret", "status": "ok", "detail": "configured", "advice": ""}]}
