"""What a plugin cannot import: the plugin, the module and what to do are named, wherever it is imported."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from evanesce import logs
from evanesce.errors import PluginError
from evanesce.plugins import Plugins
from evanesce.plugins.faults import MISSING
from tests.core.plugins.fixtures import configured, full

SHAPES = {
    "a module": ("import nothing_of_this_name", "nothing_of_this_name", True),
    "something from a module": ("from nothing_of_this_name import that", "nothing_of_this_name", True),
    "a part of a package": ("from json import decoder, nothing_of_this_name", "nothing_of_this_name", False),
    "a module of a package": ("import json.nothing_of_this_name", "json.nothing_of_this_name", True),
    "by another module": ("import plugin_helper", "nothing_of_this_name", True),
    "what is no Python": ("import plugin_unreadable", "plugin_unreadable.py", False),
    "what raises": ("import plugin_raising", "plugin_raising.py:1", False),
}

HOOKS = [
    "evanesce_settings",
    "evanesce_cli_commands",
    "evanesce_configure",
    "evanesce_authenticator",
    "evanesce_transport",
    "evanesce_http_routes",
    "evanesce_sign_in_page",
    "evanesce_findings",
]


@pytest.fixture
def helpers(tmp_path: Path) -> None:
    """Put beside the plugin what it imports."""
    (tmp_path / "plugin_helper.py").write_text("import os\nimport nothing_of_this_name\n")
    (tmp_path / "plugin_unreadable.py").write_text("import os\ndef broken(:\n")
    (tmp_path / "plugin_raising.py").write_text("raise ValueError('S3CR3T')\n")


def ask_everything() -> None:
    plugins = Plugins.load(["main", "odd"], {"main": full()})
    plugins.settings()
    plugins.cli_commands("odd")
    config = configured(plugins)
    plugins.build(config, Path("/folder"))
    plugins.findings(config, Path("/folder"), [])


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize("where", ["", *HOOKS])
@pytest.mark.parametrize(("code", "named", "missing"), SHAPES.values(), ids=SHAPES)
def test_what_cannot_be_imported_is_named(
    install: Callable[..., None], where: str, code: str, named: str, missing: bool
) -> None:
    if where:
        code = textwrap.dedent(
            f"""
            from evanesce.hookspecs import hookimpl

            evanesce_sees_content = True

            @hookimpl
            def {where}():
                {code}
            """
        )
    install("odd", code)
    with pytest.raises(PluginError) as caught:
        ask_everything()
    told = str(caught.value)
    assert told.startswith("plugin 'odd': ")
    # From what a module has not, the module is known alone, where the interpreter does not say more.
    assert named in told or (named == "nothing_of_this_name" and "ImportError (json)" in told)
    assert (MISSING in told) == missing
    assert "S3CR3T" not in told
    assert "\n" not in told


def raised(code: str) -> ImportError:
    with pytest.raises(ImportError) as caught:
        exec(compile(code, "made.py", "exec"), {"NAME": "S3CR3T"})
    return caught.value


@pytest.mark.parametrize(
    "code",
    [
        "raise ImportError('S3CR3T', name='S3CR3T')",
        "raise ModuleNotFoundError('S3CR3T', name='S3CR3T')",
        "__import__(NAME)",
        "__import__('importlib').import_module(NAME)",
        "raise ImportError('S3CR3T')",
    ],
)
def test_a_name_that_no_import_in_the_code_has_is_not_told(code: str) -> None:
    error = raised(code)
    assert logs.imported(error) is None
    assert "S3CR3T" not in logs.folded(error)


def test_a_syntax_error_in_what_somebody_wrote_names_no_file() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("S3CR3T S3CR3T", "S3CR3T", "exec")
    assert "S3CR3T" not in logs.folded(caught.value)
