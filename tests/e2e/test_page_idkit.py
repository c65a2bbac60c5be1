"""The page signs in with World ID for real: World's own IDKit in a browser, a simulated bridge, phone and portal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server
from tests.worldid.humans import configuration
from tests.worldid.process import SimulatorProcess, running

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimulatorProcess]:
    (tmp_path / "world").mkdir()
    with running(tmp_path / "world", "--bind", "127.0.0.1:0") as simulator:
        yield simulator


@pytest.fixture
def server(serve: Callable[..., Server], world: SimulatorProcess, idkit: Path) -> Server:
    return serve(*configuration(world, "guest", idkit=str(idkit)))


def approve(
    world: SimulatorProcess,
    client: BrowserClient,
    person: str,
    *,
    reject: bool = False,
    legacy: bool = False,
    refused: bool = False,
) -> None:
    """Scan what the page shows with a person's phone, and answer there; `refused`: the phone cannot do it."""
    link = client.page.locator("a.worldid-open")
    link.wait_for()
    client.page.locator(".worldid-qr svg").wait_for()
    address = link.get_attribute("href") or ""
    answer = world.scan(person, address, reject=reject, legacy=legacy)
    assert answer["success"] is not (reject or refused)
    client.page.locator(f'a.worldid-open[href="{address}"]').wait_for(state="hidden")


def sign_up(world: SimulatorProcess, client: BrowserClient, url: str, person: str) -> None:
    client.page.goto(url)
    client.page.fill("#worldid-name", person)
    client.page.click("text=Sign up with World ID")
    approve(world, client, person)


def account_code(client: BrowserClient) -> str:
    client.page.click("#account-open")
    code = client.page.inner_text(".worldid-code code")
    client.page.click("#account form[method=dialog] button")
    return code


def test_one_human_on_two_devices(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    link = server.open_room()["deepLink"]
    laptop, phone = browser_client(), browser_client(phone=True)
    sign_up(world, laptop, link, "Ada")
    laptop.shows("text=Step 2 of 2")
    approve(world, laptop, "Ada")
    laptop.in_room(1)
    code = account_code(laptop)

    phone.page.goto(f"{server.url}/#account={code}")
    assert phone.page.input_value("#worldid-code") == code
    assert "#" not in phone.page.url, "the code does not stay in the address"
    phone.page.click("text=Sign in with World ID")
    approve(world, phone, "Ada")
    phone.shows("#home")
    phone.page.goto(link)
    phone.in_room(1)  # one human
    laptop.say("from the laptop")
    phone.sees("from the laptop")
    assert account_code(phone) == code

    laptop.page.click("#account-open")
    laptop.page.click("#sign-out")
    laptop.shows("#sign-in")
    assert laptop.page.input_value("#worldid-code") == code, "this browser remembers whose account it was"
    laptop.page.click("text=Sign in with World ID")
    approve(world, laptop, "Ada")
    laptop.shows("#home")


def test_a_sign_up_that_was_interrupted_is_begun_again(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    sign_up(world, ada, server.url, "Ada")
    ada.shows("text=Step 2 of 2")
    ada.page.reload()
    sign_up(world, ada, server.url, "Ada")
    ada.shows("text=Step 2 of 2")
    approve(world, ada, "Ada")
    ada.shows("#home")
    assert ada.page.locator("#reminder").is_hidden()


def test_who_declines_and_who_was_forgotten(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    ada.page.goto(server.url)
    ada.page.fill("#worldid-name", "Ada")
    ada.page.click("text=Sign up with World ID")
    approve(world, ada, "Ada", reject=True)
    ada.shows(".problem:has-text('You declined in World App')")
    ada.page.click("text=Sign up with World ID")
    approve(world, ada, "Ada")
    approve(world, ada, "Ada")
    ada.shows("#home")
    old = account_code(ada)
    ada.page.click("#account-open")
    ada.page.click("#delete-account")
    ada.shows("#confirm-text:has-text('only once a year')")
    ada.page.click("#confirm-yes")
    ada.shows("#sign-in")
    assert ada.page.evaluate("localStorage.length") == 0

    sign_up(world, ada, server.url, "Ada")  # World App makes the same proof again for ten minutes
    approve(world, ada, "Ada")
    ada.shows("#home")
    assert account_code(ada) != old


def test_somebody_else_at_the_account_code(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada, mallory = browser_client(), browser_client()
    sign_up(world, ada, server.url, "Ada")
    approve(world, ada, "Ada")
    ada.shows("#home")
    mallory.page.goto(f"{server.url}/#account={account_code(ada)}")
    mallory.page.click("text=Sign in with World ID")
    link = mallory.page.locator("a.worldid-open")
    link.wait_for()
    answer = world.scan("Mallory", link.get_attribute("href") or "")
    assert answer == {"success": False, "error": "generic_error"}
    mallory.shows(".problem:has-text('World App could not confirm the request')")
    assert mallory.page.evaluate("localStorage.getItem('evanesce.account')") is None


def test_who_has_a_world_id_of_the_older_kind(
    serve: Callable[..., Server], world: SimulatorProcess, browser_client: Callable[..., BrowserClient], idkit: Path
) -> None:
    server = serve(*configuration(world, idkit=str(idkit), legacy_proofs="true"))
    ada = browser_client()
    ada.page.goto(server.url)
    ada.page.check("#worldid-new")
    ada.page.fill("#worldid-name", "Ada")
    ada.page.click("text=Sign up with World ID")
    approve(world, ada, "Ada", legacy=True, refused=True)  # World App of old makes no session
    ada.shows("text=Step 2 of 2")
    approve(world, ada, "Ada", legacy=True)
    ada.shows("#home")
    ada.page.click("#reminder-open")
    ada.page.click("text=Finish setting up World ID")
    approve(world, ada, "Ada")
    ada.shows("text=Step 2 of 2")
    approve(world, ada, "Ada", legacy=True)
    ada.page.locator("#account >> text=Finish setting up World ID").wait_for(state="detached")
    ada.page.click("#account form[method=dialog] button")
    code = account_code(ada)
    ada.page.click("#account-open")
    ada.page.click("#sign-out")
    ada.shows("#sign-in")
    assert ada.page.input_value("#worldid-code") == code
    ada.page.click("text=Sign in with World ID")
    approve(world, ada, "Ada")
    ada.shows("#home")
