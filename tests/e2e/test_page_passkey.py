"""The page signs in with passkeys in a real browser, whose authenticators are those of its developer tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

pytestmark = pytest.mark.slow


class Authenticator:
    """A virtual authenticator of a page, with resident keys."""

    def __init__(self, client: BrowserClient) -> None:
        self._session: CDPSession = client.context.new_cdp_session(client.page)
        self._session.send("WebAuthn.enable")
        self._id = ""
        self.plug_in()

    def plug_in(self) -> None:
        """Plug in a new device, which confirms at once."""
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self._id = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def keys(self) -> list[dict[str, object]]:
        found = self._session.send("WebAuthn.getCredentials", {"authenticatorId": self._id})
        keys: list[dict[str, object]] = found["credentials"]
        return keys

    def put_in(self, key: dict[str, object]) -> None:
        self._session.send("WebAuthn.addCredential", {"authenticatorId": self._id, "credential": key})

    def unplug(self) -> None:
        self._session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._id})

    def refuse(self) -> None:
        """Let the person not be verified, as if they cancelled."""
        self._session.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": False})

    def accept(self) -> None:
        self._session.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": True})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a server at `localhost`, because an address of numbers can have no passkeys."""
    server = Server(tmp_path, 'plugins.enabled=["passkey", "sqlite", "quart"]')
    server.settings += [f"server.public_url={page_of(server)}", "plugins.passkey.user_verification=required"]
    with server:
        yield server


def page_of(server: Server) -> str:
    return server.url.replace("127.0.0.1", "localhost")


def sign_up(client: BrowserClient, name: str) -> None:
    client.page.get_by_text("New here?").click()
    client.page.locator("#sign-in").get_by_label("Your name").fill(name)
    client.page.get_by_role("button", name="Create an account with a passkey").click()
    client.shows("#home")


def sign_in(client: BrowserClient) -> None:
    client.page.get_by_role("button", name="Sign in with a passkey").click()
    client.shows("#home")


def account_of(client: BrowserClient) -> dict[str, str] | None:
    account: dict[str, str] | None = json.loads(
        client.page.evaluate("localStorage.getItem('evanesce.account')") or "null"
    )
    return account


def user_of(client: BrowserClient) -> str:
    account = account_of(client)
    assert account is not None
    return account["userId"]


def open_account(client: BrowserClient) -> None:
    client.page.click("#account-open")
    client.shows("h3:has-text('Passkeys')")


def sign_out(client: BrowserClient) -> None:
    open_account(client)
    client.page.get_by_role("button", name="Sign out").click()
    client.shows("#sign-in")


def test_a_person_signs_up_out_and_in_again_in_two_tabs(
    server: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    device = Authenticator(ada)
    ada.page.goto(page_of(server))
    sign_up(ada, "Ada")
    user = user_of(ada)
    [key] = device.keys()
    assert key["isResidentCredential"] is True
    assert key["rpId"] == "localhost"
    ada.shows("text=If you lose your only passkey, you lose your account.")
    sign_out(ada)
    sign_in(ada)
    assert user_of(ada) == user
    tab = ada.context.new_page()
    tab.goto(page_of(server))
    tab.locator("#home").wait_for()
    assert tab.locator("#account-label").text_content() == "Ada"
    sign_out(ada)
    tab.locator("#sign-in").wait_for()


def test_two_devices_and_one_that_is_lost(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client()
    device = Authenticator(ada)
    ada.page.goto(page_of(server))
    sign_up(ada, "Ada")
    user = user_of(ada)
    [first] = device.keys()
    device.unplug()
    device.plug_in()
    open_account(ada)
    ada.page.get_by_label("Name of the new device").fill("<b>Key</b> 2")
    ada.page.get_by_role("button", name="Add a device").click()
    ada.page.get_by_role("button", name="Remove <b>Key</b> 2").wait_for()
    assert len(device.keys()) == 1
    assert user_of(ada) == user
    [other] = [one for one in ada.page.locator(".passkey-devices li").all() if "<b>Key</b>" not in one.inner_text()]
    other.get_by_role("button").click()
    ada.page.locator(".passkey-devices li").nth(1).wait_for(state="detached")
    ada.page.get_by_role("button", name="Remove <b>Key</b> 2").click()
    ada.shows(".problem:has-text('This is the only way to sign in to this account.')")
    ada.problems.clear()  # the refused request is an error in the console

    lost = browser_client()
    thief = Authenticator(lost)
    thief.put_in(first)
    lost.page.goto(page_of(server))
    lost.page.get_by_role("button", name="Sign in with a passkey").click()
    lost.shows(".problem:has-text('This passkey belongs to no account here, or was removed from it.')")
    assert account_of(lost) is None
    lost.problems.clear()


def test_recovery_codes_bring_back_who_has_lost_all_devices(
    server: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    device = Authenticator(ada)
    ada.page.goto(page_of(server))
    sign_up(ada, "Ada")
    user = user_of(ada)
    open_account(ada)
    ada.page.get_by_role("button", name="Make new recovery codes").click()
    codes = ada.page.locator(".passkey-codes code")
    codes.nth(9).wait_for()
    code = codes.nth(3).inner_text()
    assert code not in ada.page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    ada.page.reload()
    device.unplug()
    sign_out(ada)
    for _ in range(2):
        ada.page.get_by_text("Lost your devices?").click()
        ada.page.get_by_label("Recovery code").fill(code)
        ada.page.get_by_role("button", name="Sign in with a recovery code").click()
        if account_of_after(ada):
            assert user_of(ada) == user
            device.plug_in()
            open_account(ada)
            ada.shows("text=You have 9 recovery codes.")
            ada.page.get_by_role("button", name="Add a device").click()
            ada.page.locator(".passkey-devices li").nth(1).wait_for()
            ada.page.keyboard.press("Escape")
            sign_out(ada)
    ada.shows(".problem:has-text('This recovery code is wrong, or was used already.')")
    ada.problems.clear()
    sign_in(ada)
    assert user_of(ada) == user


def account_of_after(client: BrowserClient) -> bool:
    """Wait for the answer to a sign-in; return whether it succeeded."""
    client.page.locator("#home:visible, .problem:visible").first.wait_for()
    return client.page.locator("#home").is_visible()


def test_a_person_who_cancels_may_try_again(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client()
    device = Authenticator(ada)
    ada.page.goto(page_of(server))
    device.refuse()
    ada.page.get_by_role("button", name="Sign in with a passkey").click()
    ada.shows(".problem:has-text('No passkey was used')")
    device.accept()
    sign_up(ada, "Ada")


def test_a_browser_without_passkeys_still_takes_recovery_codes(
    server: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    ada.page.add_init_script("delete globalThis.PublicKeyCredential")
    ada.page.goto(page_of(server))
    ada.shows("text=This browser cannot use passkeys on this page.")
    assert ada.page.get_by_role("button", name="Sign in with a passkey").count() == 0
    ada.page.get_by_text("Lost your devices?").click()
    ada.page.get_by_label("Recovery code").fill("0000")
    ada.page.get_by_role("button", name="Sign in with a recovery code").click()
    ada.shows(".problem:has-text('This is not a recovery code')")
    ada.problems.clear()
