"""The page signs in with OpenID Connect for real: an issuer from npm in a process, its own pages, and a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.oidc_issuer import SECRET, install, running
from tests.e2e.running import Server
from tests.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Deployment:
    """A server, and the issuer that it uses."""

    server: Server
    issuer: str


@pytest.fixture(params=["public", "confidential"])
def deployment(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> Iterator[Deployment]:
    install()
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    settings = [f"plugins.oidc.issuer={issuer}", f"plugins.oidc.client_id={request.param}"]
    if request.param == "confidential":
        settings.append(f"plugins.oidc.client_secret={SECRET}")
    server = serve('plugins.enabled=["oidc", "guest", "sqlite", "quart"]', *settings)
    with running(port, server.url):
        yield Deployment(server, issuer)


def open_page(client: BrowserClient, url: str) -> None:
    """Open a page. What the issuer's pages want to load from elsewhere is empty."""

    def answer(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            route.fulfill(body="")

    client.context.route("**/*", answer)
    client.page.goto(url)


def go_to_issuer(client: BrowserClient) -> None:
    client.page.get_by_role("button", name="Continue at 127.0.0.1").click()
    client.page.locator("input[name=login]").wait_for()


def sign_in(client: BrowserClient, person: str) -> None:
    """Sign in as a person on the pages of the issuer."""
    go_to_issuer(client)
    client.page.fill("input[name=login]", person)
    client.page.fill("input[name=password]", "any")
    client.page.click("button[type=submit]")
    client.page.click("button[type=submit]:has-text('Continue')")


def account_of(client: BrowserClient) -> dict[str, str] | None:
    account: dict[str, str] | None = json.loads(
        client.page.evaluate("localStorage.getItem('evanesce.account')") or "null"
    )
    return account


def test_a_person_signs_in_from_a_link_to_a_room(
    deployment: Deployment, browser_client: Callable[..., BrowserClient]
) -> None:
    link = deployment.server.open_room()["deepLink"]
    ada, phone = browser_client(), browser_client(phone=True)
    asked: list[str] = []
    ada.page.on("request", lambda request: asked.append(request.url))
    open_page(ada, f"{link}#part-of-the-link")
    sign_in(ada, "ada")
    ada.in_room(1)
    assert ada.page.url.startswith(link)
    account = account_of(ada)
    assert account is not None
    assert (account["provider"], account["displayName"]) == ("oidc", "ada of the issuer")
    assert ada.page.evaluate("sessionStorage.length") == 0
    [sent] = [parse_qs(urlsplit(url).query) for url in asked if url.startswith(f"{deployment.issuer}/auth?")]
    assert sent["code_challenge_method"] == ["S256"]
    assert sent["redirect_uri"] == [f"{deployment.server.url}/oidc/callback"]
    assert not [url for url in asked if "id_token" in url or account["token"] in url]

    open_page(phone, link)
    sign_in(phone, "ada")
    phone.in_room(1)
    again = account_of(phone)
    assert again is not None
    assert again["userId"] == account["userId"]


@pytest.mark.parametrize("deployment", ["public"], indirect=True)
def test_what_the_issuer_refuses_is_shown_as_text(
    deployment: Deployment, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    open_page(ada, deployment.server.url)
    go_to_issuer(ada)
    ada.page.get_by_text("Cancel").click()
    ada.shows(".problem:has-text('The identity provider did not sign you in: ')")
    sign_in(ada, "ada")
    ada.shows("#home")


@pytest.mark.parametrize("deployment", ["public"], indirect=True)
def test_the_answer_for_one_browser_signs_in_no_other(
    deployment: Deployment, browser_client: Callable[..., BrowserClient]
) -> None:
    mallory, ada = browser_client(), browser_client()
    open_page(mallory, deployment.server.url)
    mallory.context.route("**/oidc/*/callback.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    sign_in(mallory, "mallory")
    mallory.page.wait_for_url("**/oidc/callback?*")
    address = mallory.page.url
    assert "code=" in address

    open_page(ada, deployment.server.url)
    go_to_issuer(ada)  # with a sign-in of her own under way
    ada.page.goto(address)
    ada.shows("[role=alert]:has-text('This sign-in was not started in this tab, or it has expired.')")
    assert account_of(ada) is None
    ada.page.get_by_text("Start again").click()
    ada.shows("#sign-in")
    assert account_of(ada) is None


@pytest.mark.parametrize("deployment", ["public"], indirect=True)
def test_the_sign_in_is_in_the_language_of_the_page(
    deployment: Deployment, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client(locale="de-AT")
    open_page(ada, deployment.server.url)
    ada.page.get_by_role("button", name="Weiter bei 127.0.0.1").wait_for()
    ada.page.goto(f"{deployment.server.url}/oidc/callback?code=of-nobody&state=of-nobody")
    ada.shows("[role=alert]:has-text('Diese Anmeldung wurde nicht in diesem Tab begonnen')")
    assert ada.page.get_attribute("html", "lang") == "de"
    ada.page.get_by_text("Neu beginnen").click()
    ada.shows("#sign-in")
