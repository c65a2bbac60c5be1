"""The hooks, what the reference and the guide say of them, and the server agree; every example runs."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import Rejected
from evanesce.hookspecs import CONTENT_HOOKS, HOOK_CONTRACTS, Hooks
from evanesce.interfaces import Server
from evanesce.model import Timestamp
from evanesce.plugins import Plugins, discovery
from evanesce.testing.server import memory_server
from tests.core.plugins.fixtures import DRAFT, ROOM, Component, configured, full, loaded, plugin
from tests.core.rooms.clients import QUICK

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference/hooks.md").read_text("utf-8")
GUIDE = (DOCS / "how-to/write-a-plugin.md").read_text("utf-8")
SIGN_IN_GUIDE = (DOCS / "how-to/write-a-sign-in-plugin.md").read_text("utf-8")
HOOKS = [name for name in vars(Hooks) if name.startswith("evanesce_")]
RUNNING = [name for name in HOOKS if inspect.iscoroutinefunction(getattr(Hooks, name))]
NOON = Timestamp("2026-11-22T12:00:00.000Z")

ARGUMENTS: dict[str, Mapping[str, Any]] = {
    "evanesce_may_join": {"room_id": "r", "user_id": "u", "display_name": "n"},
    "evanesce_filter_message": {"draft": DRAFT},
    "evanesce_message_sent": {
        "room_id": "r",
        "sender_id": "u",
        "message_id": "m",
        "size": 5,
        "created_at": NOON,
        "expires_at": NOON,
    },
    "evanesce_member_joined": {"room_id": "r", "user_id": "u", "display_name": "n"},
    "evanesce_member_left": {"room_id": "r", "user_id": "u"},
    "evanesce_presence_changed": {"room_id": "r", "joined": ["u"], "left": ["v"]},
    "evanesce_room_opened": {"room": ROOM},
    "evanesce_room_closed": {"room_id": "r"},
    "evanesce_invite_created": {"room_id": "r", "invite_id": "i", "people": 3, "expires_at": NOON},
    "evanesce_member_removed": {"room_id": "r", "user_id": "u", "reason": "vote"},
    "evanesce_member_banned": {"room_id": "r", "user_id": "u", "reason": "vote", "until": NOON},
    "evanesce_user_erased": {"user_id": "u"},
}
"""What each hook that has a deadline is called with."""


def sections(text: str, level: str) -> dict[str, str]:
    """Return the section of each hook in a page."""
    found = re.findall(rf"^{level} [^\n]*`(evanesce_\w+)`$\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return dict(found)


def example(hook: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the plugin that is the guide's example of a hook."""
    blocks = re.findall(r"^```python\n(.*?)^```$", sections(GUIDE, "###")[hook] + SIGN_IN_GUIDE, re.M | re.DOTALL)
    code = next(block for block in blocks if f"def {hook}(" in block)
    made = ModuleType(f"example_of_{hook}")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(compile(code, "write-a-plugin.md", "exec"), made.__dict__)
    return getattr(made, "plugin", made)


def test_every_hook_has_a_contract_arguments_a_reference_and_a_guide() -> None:
    assert list(HOOK_CONTRACTS) == HOOKS
    assert [hook for hook in HOOKS if HOOK_CONTRACTS[hook].seconds is not None] == list(ARGUMENTS)
    assert list(sections(REFERENCE, "##")) == HOOKS
    assert list(sections(GUIDE, "###")) == HOOKS
    assert set(HOOKS) >= CONTENT_HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_reference_says_all_of_a_hook(hook: str) -> None:
    text = sections(REFERENCE, "##")[hook]
    contract = HOOK_CONTRACTS[hook]
    parameters = inspect.signature(getattr(Hooks, hook)).parameters
    assert all(name == "self" or re.search(rf"`(async )?def {hook}\([^`]*\b{name}:", text) for name in parameters)
    assert "Called " in text, "when it is called"
    assert f"- Deadline: {'none' if contract.seconds is None else f'{contract.seconds:g} s'}\n" in text
    raises = " or ".join(f"`{error.__name__}`" for error in contract.raises) or "nothing"
    assert f"- May raise: {raises}\n" in text
    assert f"- Is handed the content of messages: {'yes' if hook in CONTENT_HOOKS else 'no'}\n" in text
    users = [name for name in discovery.names() if hook in Plugins.load([name]).hooks(name)]
    assert f"- Plugins of Evanesce that use it: {', '.join(f'`{name}`' for name in users) or 'none'}\n" in text
    assert "](../how-to/write-a-plugin.md#" in text


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in RUNNING])
def test_the_example_of_a_hook_before_the_start_runs(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt").write_text("mud\n")
    (tmp_path / "evanesce_accounts").mkdir()  # the package of which the guide's sign-in has a file
    (tmp_path / "evanesce_accounts" / "accounts.js").write_text("export {};\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = example(hook, monkeypatch)
    main = full("accounts" if hook == "evanesce_sign_in_page" else "part")
    if hook == "evanesce_repository":  # there is only one
        main = plugin(evanesce_authenticator=lambda: Component(), evanesce_transport=lambda: Component())
    plugins = loaded(main=main, example=made)
    assert hook in plugins.hooks("example")
    model = plugins.settings()["example"]
    required = [] if model is None else [one for one in msgspec.structs.fields(model) if one.required]
    given = {field.encode_name: {} if "dict" in str(field.type) else "x" for field in required}
    settings = {} if model is None else {"example": msgspec.convert(given, model)}
    config = configured(plugins, **settings)
    components = plugins.build(config, tmp_path)
    plugins.findings(config, tmp_path, ["0.0.0.0:80"])
    for command in plugins.cli_commands("example"):
        assert command.name
    assert components.repository is not None


@pytest.mark.parametrize("hook", ARGUMENTS)
async def test_the_example_of_a_hook_while_the_server_runs_runs(
    hook: str, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    plugins = loaded(example=example(hook, monkeypatch))
    await nursery.start(plugins.run)
    match hook:
        case "evanesce_may_join":
            await plugins.may_join(**ARGUMENTS[hook])
        case "evanesce_filter_message":
            assert (await plugins.filter_message(DRAFT)).content
        case _:
            plugins.observe(hook, **ARGUMENTS[hook])
            await wait_all_tasks_blocked()
    assert plugins.statistics()["example"].failed == 0


async def test_the_example_of_a_task_reminds_a_room_every_hour(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    made = example("evanesce_run", monkeypatch)
    async with memory_server(plugins={"break": made}, limits=QUICK) as server:
        ada = await server.sign_in("Ada")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        for _ in range(2):
            await trio.sleep(3_600)
            told = await ada.until("message")
            assert (told["content"], told["senderName"]) == ("Remember to drink something.", "Break (service)")


async def test_the_example_of_a_slow_mode_counts_over_all_attempts(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    [code] = re.findall(r"^```python\n((?:(?!```).)*class SlowMode:.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    made = ModuleType("slow_mode_of_the_guide")
    exec(compile(code, "write-a-plugin.md", "exec"), made.__dict__)
    async with memory_server(plugins={"slow": made.plugin}, limits=QUICK) as server:
        ada = await server.sign_in("Ada")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        assert (await ada.ask("send", roomId=room, content="one"))["type"] == "sent"
        refused = await ada.ask("send", roomId=room, content="two")
        assert (refused["code"], refused["retryAfter"]) == ("rejected", pytest.approx(30, abs=0.5))
        await trio.sleep(refused["retryAfter"] + 0.01)
        assert (await ada.ask("send", roomId=room, content="two"))["type"] == "sent"


@pytest.mark.parametrize("hook", ARGUMENTS)
async def test_what_a_hook_may_raise_is_no_fault_and_all_else_is(
    hook: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def refuses(**arguments: object) -> None:
        raise Rejected("no")

    plugins = loaded(odd=plugin(**{hook: _with_arguments_of(hook, refuses)}))
    await nursery.start(plugins.run)
    if HOOK_CONTRACTS[hook].raises:
        ask = plugins.may_join if hook == "evanesce_may_join" else plugins.filter_message
        with pytest.raises(Rejected):
            await ask(**ARGUMENTS[hook])
    else:
        plugins.observe(hook, **ARGUMENTS[hook])
        await wait_all_tasks_blocked()
    assert plugins.statistics()["odd"].failed == (0 if HOOK_CONTRACTS[hook].raises else 1)


def _with_arguments_of(hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook without arguments, as every implementation may omit them, that calls `function`."""

    async def implementation() -> Any:
        return await function()

    return implementation


def test_a_server_is_what_the_task_of_a_plugin_is_told_about() -> None:
    text = (DOCS / "reference/python-api/interfaces.md").read_text("utf-8")
    for name in vars(Server):
        if not name.startswith("_"):
            assert re.search(rf"^- `((async )?def )?{name}\b", text, re.MULTILINE), name
