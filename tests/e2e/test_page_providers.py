"""The page with other ways to sign in than guests': a third party's, several, broken ones, and none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.browsers import BrowserClient, without_ways
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

DATA = Path(__file__).parent / "data" / "page_plugin"
DOCUMENTATION = (Path(__file__).parents[2] / "docs/how-to/write-a-sign-in-plugin.md").read_text("utf-8")


@pytest.fixture
def scripted(serve: Callable[..., Server]) -> Server:
    """A server with the plugin of `data/page_plugin` before guests."""
    enabled = 'plugins.enabled=["scripted", "sqlite", "quart", "guest"]'
    return serve(enabled, environment={"PYTHONPATH": str(DATA)})


def press(client: BrowserClient, name: str) -> None:
    client.page.get_by_role("button", name=name, exact=True).click()


def kept(client: BrowserClient) -> dict[str, str] | None:
    account: dict[str, str] | None = json.loads(
        client.page.evaluate("localStorage.getItem('evanesce.account')") or "null"
    )
    return account


def example(name: str) -> str:
    """Return one of the examples of the plugins' page."""
    [code] = re.findall(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    return str(code)


def test_each_way_has_its_place_in_the_configured_order(
    scripted: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ana = browser_client()
    ana.page.goto(scripted.url)
    ana.shows("#sign-in-name")
    shown = ana.page.locator("#sign-in-methods > *").evaluate_all("all => all.map(one => one.className)")
    assert shown == ["sign-in-method", "or", "sign-in-method"]
    assert ana.page.locator(".sign-in-method").first.get_by_role("button", name="Sign in as Ada").is_visible()
    assert ana.page.locator(".sign-in-method").last.get_by_role("button", name="Continue as a guest").is_visible()


def test_a_third_party_signs_in(scripted: Server, browser_client: Callable[..., BrowserClient]) -> None:
    link = scripted.open_room()["deepLink"]
    ada = browser_client()
    ada.page.goto(link)
    press(ada, "Fail")
    ada.shows(".scripted:has-text('Not like that.')")
    press(ada, "Refuse")
    ada.shows(".scripted:has-text('name')")
    # The browser says in its console that a request was refused.
    ada.problems = [problem for problem in ada.problems if "400" not in problem]
    press(ada, "Sign in as Ada")
    ada.in_room(1)
    account = kept(ada)
    assert account is not None
    assert account["provider"] == "scripted"
    assert account["displayName"] == "Ada"
    assert ada.page.evaluate("window.taken") == 1
    assert ada.page.locator("#sign-in-methods > *").count() == 0


def test_a_sign_in_of_two_steps_stays_where_it_is(
    scripted: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    link = scripted.open_room()["deepLink"]
    eve = browser_client()
    eve.page.goto(link)
    press(eve, "Two steps")
    second = eve.page.get_by_role("button", name="Second step of Eve")
    second.wait_for()
    assert eve.page.locator("#sign-in").is_visible()
    account = kept(eve)
    assert account is not None
    assert account["provider"] == "scripted"
    second.click()
    eve.in_room(1)


def test_what_comes_in_too_late_counts_no_more(scripted: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ana = browser_client()
    ana.page.goto(scripted.url)
    press(ana, "Too late")
    ana.shows(".sign-in-method:has-text('Held back.')")
    ana.page.fill("#sign-in-name", "Ana")
    ana.page.press("#sign-in-name", "Enter")
    ana.in_room(1)
    ana.page.evaluate("window.tooLate()")
    account = kept(ana)
    assert account is not None
    assert (account["displayName"], account["provider"]) == ("Ana", "guest")


def test_what_a_provider_adds_to_the_account(scripted: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client(phone=True)
    ada.page.goto(scripted.url)
    press(ada, "Sign in as Ada")
    ada.shows("#reminder:has-text('There is one more step.')")
    ada.page.click("#reminder-later")
    ada.page.locator("#reminder").wait_for(state="hidden")
    ada.page.reload()
    ada.page.click("#reminder-open")
    ada.shows("#account-provider:has-text('Ada of scripted')")

    ada.page.click("#sign-out")
    ada.shows("#confirm-text:has-text('You could not come back.')")
    press(ada, "Cancel")
    press(ada, "The last step")
    ada.page.click("#account >> text=Done")
    ada.page.locator("#reminder").wait_for(state="hidden")

    ada.page.click("#account-open")
    ada.shows("#account-provider:has-text('Ada of scripted')")
    assert ada.page.inner_text("#account-provider").count("Ada") == 1, "drawn anew, not once more"
    ada.page.click("#sign-out")
    ada.shows("#sign-in-reason:has-text('signed out')")
    press(ada, "Sign in as Ada")
    ada.shows("#home")

    ada.page.click("#account-open")
    ada.page.click("#delete-account")
    ada.shows("#confirm-text:has-text('You cannot undo this.')")
    ada.shows("#confirm-text:has-text('Nor could you come back after this.')")
    ada.page.click("#confirm-yes")
    ada.shows("#sign-in")
    assert ada.page.evaluate("localStorage.length") == 0


def test_a_guest_sees_nothing_of_another_provider(
    scripted: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ana = browser_client()
    ana.sign_in(scripted.url, "Ana")
    ana.in_room(1)
    ana.page.click("#account-open")
    ana.shows("#account-name")
    assert ana.page.locator("#account-provider").inner_text() == ""
    assert ana.page.locator("#reminder").is_hidden()
    ana.page.click("#sign-out")
    ana.page.click("#confirm-yes")
    ana.shows("#sign-in")


BROKEN = {
    "gone": None,
    "no module": "this is no JavaScript",
    "empty": "export default {};",
    "raises": "export default { signIn() { throw new Error('broken'); } };",
}


@pytest.mark.parametrize("module", BROKEN.values(), ids=BROKEN)
def test_a_way_that_is_broken_leaves_the_others(
    scripted: Server, browser_client: Callable[..., BrowserClient], module: str | None
) -> None:
    ana = browser_client()
    ana.page.route(
        "**/scripted.js",
        lambda route: route.abort() if module is None else route.fulfill(body=module, content_type="text/javascript"),
    )
    ana.page.goto(scripted.url)
    ana.shows(".sign-in-method .problem:has-text('Signing in with “scripted” does not work on this page')")
    assert any("scripted" in problem for problem in ana.problems), "the console says why"
    ana.problems.clear()
    ana.sign_in(scripted.url, "Ana")
    ana.in_room(1)
    ana.problems.clear()


def test_a_module_that_breaks_later_keeps_nobody(
    scripted: Server, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    ada.page.goto(scripted.url)
    press(ada, "Sign in as Ada")
    ada.shows("#home")
    broken = ", ".join(
        f"{name}() {{ throw new Error('broken'); }}"
        for name in ("account", "reminder", "leaving", "forgetting", "forgotten")
    )
    ada.page.route(
        "**/scripted.js",
        lambda route: route.fulfill(body=f"export default {{ {broken} }};", content_type="text/javascript"),
    )
    ada.page.goto(scripted.url)
    ada.shows("#home")
    ada.page.click("#account-open")
    ada.page.click("#delete-account")
    ada.page.click("#confirm-yes")
    ada.shows("#sign-in-reason:has-text('signed out')")
    for name in ("account", "reminder", "forgetting", "forgotten"):
        assert any(f"{name} of the provider scripted failed" in problem for problem in ada.problems), ada.problems
    ada.problems.clear()


def test_no_way_to_sign_in(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ana = browser_client()
    ana.page.route(server.url, without_ways)
    ana.page.goto(server.url)
    ana.shows("#sign-in-methods .problem:has-text('no sign-in method for this page')")


def test_another_tab_signs_in(scripted: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client()
    ada.page.goto(scripted.url)
    ada.shows("#sign-in-name")
    other = ada.context.new_page()
    other.goto(scripted.url)
    other.get_by_role("button", name="Sign in as Ada").click()
    ada.shows("#home")
    assert ada.page.evaluate("window.taken") == 1


def test_the_page_of_the_documentation(
    serve: Callable[..., Server], browser_client: Callable[..., BrowserClient], tmp_path: Path
) -> None:
    package = tmp_path / "packages" / "evanesce_accounts"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(example("accounts") + example("accounts-page"), "utf-8")
    (package / "accounts.js").write_text(example("accounts-module"), "utf-8")
    metadata = package.with_name("evanesce_accounts-1.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evanesce-accounts\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[evanesce.plugins]\naccounts = evanesce_accounts\n")
    server = serve(
        'plugins.enabled=["accounts", "sqlite", "quart"]',
        'plugins.accounts.passwords={ada = "l0velace"}',
        environment={"PYTHONPATH": str(package.parent)},
    )
    ada = browser_client()
    ada.page.goto(server.url)
    ada.page.fill("input[name=name]", "ada")
    ada.page.fill("input[name=password]", "wrong")
    press(ada, "Sign in")
    ada.shows(".problem:has-text('The name or the password is wrong.')")
    ada.problems = [problem for problem in ada.problems if "401" not in problem]
    ada.page.fill("input[name=password]", "l0velace")
    press(ada, "Sign in")
    ada.shows("#home")
    account = kept(ada)
    assert account is not None
    assert (account["provider"], account["displayName"]) == ("accounts", "ada")
