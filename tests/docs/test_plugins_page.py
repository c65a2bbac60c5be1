"""The pages for writers of plugins say what the hooks are, and its examples run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
import trio
from trio.testing import MockClock

from evanesce.config import load
from evanesce.config.model import Config
from evanesce.errors import AuthFailed, Rejected
from evanesce.hookspecs import Hooks
from evanesce.interfaces import Challenge, HttpRequest
from evanesce.model import Draft, Identity
from evanesce.plugins import Components, Plugins
from evanesce.testing.caller import caller

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("how-to/write-a-plugin.md", "how-to/write-a-sign-in-plugin.md", "tutorial/first-plugin.md")
TEXT = "\n".join((DOCS / page).read_text("utf-8") for page in PAGES)
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
HOOKS = [name for name in vars(Hooks) if name.startswith("evanesce_")]


def test_the_package_can_be_built_with_its_tests_beside_it(tmp_path: Path) -> None:
    guide = (DOCS / PAGES[0]).read_text("utf-8")
    [project] = re.findall(r"^```toml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "evanesce_accounts.py").write_text("")
    (tmp_path / "test_accounts.py").write_text("")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "built")]
    done = subprocess.run([*build, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = (tmp_path / "built").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".py")] == ["evanesce_accounts.py"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return what makes a module of an example."""

    def make(code: str) -> ModuleType:
        made = ModuleType("example_of_the_page")
        monkeypatch.setitem(sys.modules, made.__name__, made)  # where msgspec looks for the names in annotations
        exec(compile(code, "plugins.md", "exec"), made.__dict__)
        return made

    return make


def whole(name: str) -> str:
    """Return one of the two whole plugins of the page."""
    [code] = re.findall(rf"^<!-- {name} -->\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(code)


def sections() -> list[tuple[str, str]]:
    """Return the section of each hook in the guide."""
    return re.findall(r"^### [^\n]*`(evanesce_\w+)`$\n(.*?)(?=^##+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)


def test_the_guide_has_a_section_for_every_hook_in_order() -> None:
    assert [name for name, _ in sections()] == HOOKS


@pytest.mark.parametrize(("hook", "text"), sections(), ids=HOOKS)
def test_a_hook_has_an_example(hook: str, text: str) -> None:
    assert f"def {hook}(" in text or "](write-a-sign-in-plugin.md" in text
    assert f"def {hook}(" in TEXT


@pytest.mark.parametrize("code", EXAMPLES, ids=map(str, range(len(EXAMPLES))))
def test_every_example_is_a_plugin(code: str, module: Callable[[str], ModuleType]) -> None:
    made = module(code)
    plugins = Plugins.load(["example"], {"example": getattr(made, "plugin", made)})
    assert plugins.hooks("example")
    plugins.settings()
    plugins.cli_commands("example")


def test_the_package_of_the_page_registers_its_plugin() -> None:
    [package] = re.findall(r"^```toml\n(.*?)^```$", (DOCS / PAGES[0]).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    points = tomllib.loads(package)["project"]["entry-points"]
    assert points == {"evanesce.plugins": {"accounts": "evanesce_accounts"}}


def started(tmp_path: Path, plugins: Plugins, settings: str) -> tuple[Config, Components]:
    """Configure the plugins beside those that come with Evanesce, and let them give their components."""
    file = tmp_path / "config.toml"
    file.write_text(settings)
    config = load.read(file, environ={}, default_plugins=plugins.names).config(plugins.settings())
    return config, plugins.build(config, tmp_path)


CALLER = caller("accounts")


async def test_the_auth_plugin_signs_in(
    tmp_path: Path, module: Callable[[str], ModuleType], nursery: trio.Nursery
) -> None:
    plugins = Plugins.load(["guest", "sqlite", "quart", "accounts"], {"accounts": module(whole("accounts"))})
    _, components = started(tmp_path, plugins, '[plugins.accounts]\npasswords = { ada = "l0velace" }')
    await nursery.start(plugins.run)
    accounts = components.authenticators["accounts"]
    async with accounts:
        assert await accounts.challenge({"provider": "accounts"}, CALLER) == Challenge({})
        given = {"provider": "accounts", "name": "ada", "password": "l0velace"}
        assert await accounts.authenticate(given, CALLER, None) == Identity(subject="ada", display_name="ada")
        for wrong in ({"password": "x"}, {"name": "x"}, {"name": "x", "password": ""}):
            with pytest.raises(AuthFailed):
                await accounts.authenticate({**given, **wrong}, CALLER, None)
        with pytest.raises(msgspec.ValidationError):
            await accounts.authenticate({"name": "ada"}, CALLER, None)
        assert await accounts.check() == "1 accounts"


async def test_the_filter_and_observer_filters_and_observes(
    tmp_path: Path, module: Callable[[str], ModuleType], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    plugins = Plugins.load(["guest", "sqlite", "quart", "tidy"], {"tidy": module(whole("tidy")).plugin})
    _, components = started(tmp_path, plugins, '[plugins.tidy]\nrefuse = ["Mud"]')
    await nursery.start(plugins.run)
    draft = Draft(message_id="m", room_id="r", sender_id="s", sender_name="n", content=" clean ")
    assert (await plugins.filter_message(draft)).content == "clean"
    with pytest.raises(Rejected, match="kept tidy"):
        await plugins.filter_message(msgspec.structs.replace(draft, content="here is MUD"))

    for room_id, user_id in (("r", "a"), ("r", "b"), ("q", "a")):
        plugins.observe("evanesce_member_joined", room_id=room_id, user_id=user_id, display_name=user_id)
    plugins.observe("evanesce_member_left", room_id="q", user_id="a")
    with trio.fail_after(1):
        await plugins.finish_events(2)
    [route] = [one for one in components.routes if one.path == "/tidy"]
    request = HttpRequest(method="GET", path="/tidy", query={}, headers={}, body=b"", user=None)
    assert msgspec.json.decode((await route.handle(request)).body) == {"rooms": 1, "people": 2}
