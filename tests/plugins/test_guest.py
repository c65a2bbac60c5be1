"""The plugin `guest`: anybody, under any lawful name, as somebody new each time."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pluggy
import pytest

from evanesce.errors import BadRequest
from evanesce.hookspecs import Hooks
from evanesce.interfaces import Authenticator, Challenge, HttpRequest, Setup
from evanesce.testing.caller import caller
from evanesce.testing.contracts.rows import a_user
from evanesce_plugins import guest
from evanesce_plugins.guest import GuestSettings

CALLER = caller("guest")


def authenticator(*, allow_public: bool = False) -> Authenticator:
    setup = Setup(
        name="guest",
        settings=GuestSettings(allow_public=allow_public),
        folder=Path(),
        public_url="",
        origins=(),
        frame_bytes=65_536,
        outbox_bytes=1_048_576,
    )
    return guest.evanesce_authenticator(setup)


def test_its_hooks_are_those_of_a_way_to_sign_in_on_the_page_too() -> None:
    manager = pluggy.PluginManager("evanesce")
    manager.add_hookspecs(Hooks)
    manager.register(guest, "guest")
    manager.check_pending()
    callers = manager.get_hookcallers(guest) or []
    assert {caller.name for caller in callers} == {
        "evanesce_settings",
        "evanesce_authenticator",
        "evanesce_http_routes",
        "evanesce_sign_in_page",
    }


async def test_it_serves_the_page_s_module_itself() -> None:
    page = guest.evanesce_sign_in_page()
    [route] = guest.evanesce_http_routes()
    assert (page.provider, page.module, page.sources) == ("guest", route.path, {})
    request = HttpRequest(method="GET", path=route.path, query={}, headers={}, body=b"", user=None)
    answer = await route.handle(request)
    assert "javascript" in answer.content_type
    assert b"export default" in answer.body


def test_it_serves_this_machine_alone_unless_it_is_told_otherwise() -> None:
    assert authenticator().loopback_only
    assert not authenticator(allow_public=True).loopback_only
    assert not msgspec.convert({}, GuestSettings).allow_public
    for wrong in ({"allow_public": "yes"}, {"public": True}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, GuestSettings)


async def test_it_says_whom_it_lets_in() -> None:
    async with authenticator() as _, authenticator(allow_public=True) as _:
        assert await authenticator().check() == "any name, from this machine"
        assert await authenticator(allow_public=True).check() == "any name, from any address"


async def test_it_asks_nothing() -> None:
    assert authenticator().provider == "guest"
    assert await authenticator().challenge({"anything": 1}, CALLER) == Challenge({})


async def test_each_guest_is_somebody_new() -> None:
    credential = {"provider": "guest", "displayName": "  Ada 👩‍💻 ", "more": [1]}
    one = await authenticator().authenticate(credential, CALLER, None)
    two = await authenticator().authenticate(credential, caller("guest", a_user()), None)
    assert one.display_name == two.display_name == "Ada 👩‍💻"
    assert one.subject != two.subject
    assert uuid.UUID(one.subject).version == 4
    assert one.email is None
    assert not one.is_world_id


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x00b", "\u202egnirts"])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await authenticator().authenticate({"provider": "guest", "displayName": name}, CALLER, None)
    assert refused.value.field == "credential.displayName"


@pytest.mark.parametrize("credential", [{}, {"displayName": None}, {"displayName": 1}, {"displayName": ["a"]}])
async def test_a_credential_of_another_shape_is_refused_and_its_field_named(credential: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="displayName"):
        await authenticator().authenticate({"provider": "guest", **credential}, CALLER, None)
