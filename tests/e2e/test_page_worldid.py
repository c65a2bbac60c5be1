"""Sign-in with World ID on the page: a real server and a simulated World, whose app is played by the test.

In IDKit's place stands a library of the tests' own (`data/idkit`), which fails as IDKit does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from evanesce_plugins.worldid import account_code
from evanesce_plugins.worldid.qr import svg
from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server
from tests.e2e.world_app import ASKING, IDKIT, WAITING, WorldApp, failed
from tests.worldid.humans import Fields, configuration
from tests.worldid.process import SimulatorProcess, running

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with running(tmp_path_factory.mktemp("world"), "--bind", "127.0.0.1:0") as simulated:
        yield simulated


@pytest.fixture(scope="module")
def server(world: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests here, each of which is about another human."""
    with Server(tmp_path_factory.mktemp("worldid"), *configuration(world, "guest", idkit=str(IDKIT))) as server:
        yield server


def press(client: BrowserClient, name: str) -> None:
    client.page.get_by_role("button", name=name, exact=True).click()


def sign_up(client: BrowserClient, url: str, name: str) -> None:
    client.page.goto(url)
    client.page.fill("#worldid-name", name)
    press(client, "Sign up with World ID")


def state(client: BrowserClient, text: str) -> None:
    """Wait until the page says how far it is with World App."""
    client.shows(f".worldid-view [role=status]:has-text('{text}')")


def problem(client: BrowserClient, text: str) -> None:
    """Wait until the page says what went wrong, where the ways to sign in are."""
    client.shows(f"#sign-in-methods .problem:has-text('{text}')")


def kept(client: BrowserClient, key: str) -> Fields:
    value: Fields = json.loads(client.page.evaluate("key => localStorage.getItem(key)", key) or "{}")
    return value


def refused(client: BrowserClient, *statuses: int) -> None:
    """Forget that the browser's console says that a request was refused, as it was meant to be."""
    client.problems = [one for one in client.problems if not any(f"status of {status}" in one for status in statuses)]


def grouped(code: str) -> str:
    """Return an account code as the page shows it."""
    return "-".join(code[place : place + 4] for place in range(0, len(code), 4))


def no_more_to_do(client: BrowserClient) -> None:
    """Wait until the account dialog asks for nothing any more."""
    client.page.locator("#account-provider button", has_text="Finish").wait_for(state="detached")


def drawn(client: BrowserClient, place: str) -> list[str]:
    """Return the paths of the QR code that is shown at `place`."""
    client.shows(f"{place} svg")
    found: list[str] = client.page.locator(f"{place} svg path").evaluate_all(
        "all => all.map(one => one.getAttribute('d'))"
    )
    return found


def paths(text: str) -> list[str]:
    """Return the paths of the QR code of `text`: the ground, and the modules row by row."""
    return [part.partition('"')[0] for part in svg(text).decode().split(' d="')[1:]]


# The way in, and out


def test_from_sign_up_to_being_forgotten(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada")
    sign_up(ada, server.open_room()["deepLink"], "Ada")
    ada.in_room(1)
    assert [asked["kind"] for asked in app.asked] == ["create_session", "sign_up"]
    account = kept(ada, "evanesce.account")
    assert (account["provider"], account["displayName"]) == ("worldid", "Ada")
    code = server.ask("GET", "/api/v1/me", token=account["token"])[1]["accountCode"]
    assert kept(ada, "evanesce.worldid") == {"userId": account["userId"], "accountCode": code}
    assert ada.page.locator("#reminder").is_hidden()

    ada.page.click("#account-open")
    ada.page.click("#sign-out")
    ada.shows("#sign-in-reason:has-text('signed out')")
    assert kept(ada, "evanesce.account") == {}
    assert ada.page.input_value("#worldid-code") == grouped(code)
    press(ada, "Sign in with World ID")
    ada.shows("#home")
    assert app.asked[-1]["kind"] == "sign_in"
    assert kept(ada, "evanesce.account")["userId"] == account["userId"]

    ada.page.click("#account-open")
    ada.page.click("#delete-account")
    ada.shows("#confirm-text:has-text('World proves only once a year')")
    ada.page.click("#confirm-yes")
    ada.shows("#worldid-name")
    assert ada.page.evaluate("localStorage.length") == 0


def test_how_far_it_is(server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client(phone=True)
    app = WorldApp(ada, world, "Ada on the way")
    app.always = WAITING
    sign_up(ada, server.url, "Ada")
    ada.shows(".worldid-step:has-text('Step 1 of 2')")
    state(ada, "Scan this code with World App")
    assert drawn(ada, ".worldid-view .worldid-qr") == paths(app.address())
    link = ada.page.get_by_role("link", name="Open World App on this device")
    assert link.get_attribute("href") == app.address()
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert ada.page.locator("#worldid-name").is_hidden()

    app.always = ASKING
    state(ada, "Confirm it there.")
    assert link.is_hidden()
    app.script = [app.approval()]
    app.always = WAITING
    ada.shows(".worldid-step:has-text('Step 2 of 2')")
    assert drawn(ada, ".worldid-view .worldid-qr") == paths(app.address())
    app.always = None
    ada.shows("#home")


def test_another_device(server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]) -> None:
    ada, laptop = browser_client(), browser_client()
    WorldApp(ada, world, "Ada of two")
    sign_up(ada, server.url, "Ada")
    ada.shows("#home")
    user_id, code = kept(ada, "evanesce.account")["userId"], kept(ada, "evanesce.worldid")["accountCode"]
    ada.page.click("#account-open")
    ada.shows(".worldid-code code")
    assert ada.page.inner_text(".worldid-code code") == grouped(code)
    assert user_id not in ada.page.inner_text("#account")
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(ada, "Copy")
    ada.shows("text=Copied")
    assert ada.page.evaluate("navigator.clipboard.readText()") == grouped(code)
    ada.page.click("text=Sign in on another device")
    assert drawn(ada, "#account .worldid-qr") == paths(f"{server.url}/#account={code}")

    app = WorldApp(laptop, world, "Ada of two")
    requested: list[str] = []
    laptop.page.on("request", lambda request: requested.append(request.url))
    laptop.page.goto(f"{server.url}/#account={code}")
    laptop.shows("#worldid-code")
    assert laptop.page.input_value("#worldid-code") == grouped(code)
    assert laptop.page.url == f"{server.url}/", "the code is not left in the address"
    press(laptop, "Sign in with World ID")
    laptop.shows("#home")
    assert kept(laptop, "evanesce.account")["userId"] == user_id
    assert [asked["kind"] for asked in app.asked] == ["sign_in"]
    # A fragment is no part of what goes over the network, though the browser's own list shows it.
    assert [url for url in requested if code in url.partition("#")[0]] == []

    by_hand = browser_client()
    WorldApp(by_hand, world, "Ada of two")
    by_hand.page.goto(server.url)
    press(by_hand, "I have an account")
    by_hand.page.fill(
        "#worldid-code", f" {grouped(code).lower().replace('0', 'o').replace('1', 'l').replace('-', ' ')} "
    )
    press(by_hand, "Sign in with World ID")
    by_hand.shows("#home")
    assert kept(by_hand, "evanesce.account")["userId"] == user_id

    mallory = browser_client()
    its_app = WorldApp(mallory, world, "Mallory")
    mallory.page.goto(server.url)
    press(mallory, "I have an account")
    mallory.page.fill("#worldid-code", "nonsense")
    press(mallory, "Sign in with World ID")
    problem(mallory, "This is not an account code.")
    mallory.page.fill("#worldid-code", user_id)
    press(mallory, "Sign in with World ID")
    problem(mallory, "This is not an account code.")
    its_app.always = failed("generic_error")  # as World App says to a session that is another person's, or nobody's
    for known in (code, account_code.new()):
        mallory.page.fill("#worldid-code", known)
        press(mallory, "Sign in with World ID")
        problem(mallory, "World App could not confirm the request.")


# What is interrupted


def test_a_sign_up_that_is_interrupted_makes_nothing(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada interrupted")
    for interrupt in (lambda: press(ada, "Cancel"), ada.page.reload):
        app.script = [WAITING]
        sign_up(ada, server.url, "Ada")
        state(ada, "Scan this code with World App")
        app.script = [app.approval()]
        app.always = WAITING
        ada.shows(".worldid-step:has-text('Step 2 of 2')")
        interrupt()
        ada.shows("#worldid-name")
        assert kept(ada, "evanesce.account") == kept(ada, "evanesce.worldid") == {}
    app.always = None
    sign_up(ada, server.open_room()["deepLink"], "Ada")
    ada.in_room(1)
    assert ada.page.locator("#reminder").is_hidden()


def test_a_browser_that_forgot_the_code_asks_for_it_again(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    WorldApp(ada, world, "Ada twice")
    sign_up(ada, server.url, "Ada")
    ada.shows("#home")
    remembered = kept(ada, "evanesce.worldid")
    ada.page.evaluate("localStorage.removeItem('evanesce.worldid')")
    ada.page.reload()
    ada.page.click("#account-open")
    ada.shows(".worldid-code code")
    assert kept(ada, "evanesce.worldid") == remembered
    assert ada.page.locator("#reminder").is_hidden()


# What goes wrong

ADVICE = {
    "user_rejected": "You declined in World App.",
    "verification_rejected": "World App rejected the verification.",
    "credential_unavailable": "not verified as human yet",
    "feature_unavailable": "Update it, and try again.",
    "world_id_4_not_available": "Update it, and try again.",
    "world_id_3_not_available": "your older World ID",
    "duplicate_nonce": "This request was used before.",
    "malformed_request": "Tell the operator of the server (malformed_request).",
    "unknown_rp": "Tell the operator of the server (unknown_rp).",
    "inactive_rp": "Tell the operator of the server (inactive_rp).",
    "invalid_rp_signature": "Tell the operator of the server (invalid_rp_signature).",
    "invalid_network": "another environment than this server",
    "timestamp_too_old": "The request has expired.",
    "rp_signature_expired": "The request has expired.",
    "timestamp_too_far_in_future": "clock of this server or of your phone is wrong",
    "invalid_timestamp": "clock of this server or of your phone is wrong",
    "inclusion_proof_pending": "Try again in an hour.",
    "inclusion_proof_failed": "Try again in a few minutes.",
    "max_verifications_reached": "does not confirm this request again",
    "user_presence_failed": "could not verify that it is you",
    "timeout": "There was no confirmation in time.",
    "cancelled": "The request was cancelled.",
    "generic_error": "World App could not confirm the request. Try again (generic_error).",
    "unexpected_response": "World App could not confirm the request. Try again (unexpected_response).",
    "of_a_later_version": "World App could not confirm the request. Try again (of_a_later_version).",
}


def test_every_error_of_world_app_has_words(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada of many errors")
    ada.page.goto(server.url)
    ada.page.fill("#worldid-name", "Ada")
    for code, advice in ADVICE.items():
        app.script = [failed(code)]
        press(ada, "Sign up with World ID")
        problem(ada, advice)
        assert ada.page.locator("#worldid-name").is_visible()
        assert ada.page.evaluate("document.activeElement.id") == "worldid-name"
    assert len(app.asked) == len(ADVICE), "a new request each time"
    assert len({asked["config"]["rp_context"]["nonce"] for asked in app.asked}) == len(ADVICE)


def test_who_has_an_account_is_shown_the_way_to_it(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada again")
    app.script = [failed("nullifier_replayed")]
    sign_up(ada, server.url, "Ada")
    problem(ada, "You already have an account here. Sign in to it")
    assert ada.page.locator("#worldid-code").is_visible()
    assert ada.page.locator("#worldid-name").is_hidden()
    assert ada.page.get_by_role("button", name="I have an account").get_attribute("aria-pressed") == "true"


def test_cancelling(server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada cancels")
    app.always = WAITING
    sign_up(ada, server.url, "Ada")
    state(ada, "Scan this code with World App")
    press(ada, "Cancel")
    problem(ada, "The request was cancelled.")
    assert ada.page.locator(".worldid-view").count() == 0
    assert ada.page.input_value("#worldid-name") == "Ada"
    assert kept(ada, "evanesce.account") == {}


def test_time_runs_out(server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]) -> None:
    ada = browser_client()
    ada.page.clock.install()
    app = WorldApp(ada, world, "Ada is slow")
    app.always = ASKING
    sign_up(ada, server.url, "Ada")
    state(ada, "Confirm it there.")
    ada.page.clock.fast_forward(299_000)
    assert ada.page.locator(".worldid-view").is_visible()
    ada.page.clock.fast_forward(2_000)
    problem(ada, "There was no confirmation in time.")


def test_a_bridge_that_is_lost_for_a_while(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    """A phone's browser is cut off from the network while World App is in front."""
    ada = browser_client()
    app = WorldApp(ada, world, "Ada in a tunnel")
    lost = {"throws": "Poll failed: error sending request"}
    app.script = [WAITING, lost, failed("connection_failed"), lost]
    sign_up(ada, server.url, "Ada")
    ada.shows("#home")


def test_a_bridge_that_is_not_there(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    ada.page.clock.install()
    app = WorldApp(ada, world, "Ada offline")
    app.throws = "Failed: error sending request"
    sign_up(ada, server.url, "Ada")
    problem(ada, "World cannot be reached.")
    app.throws = "Failed: Invalid configuration: Invalid session_id format"
    press(ada, "Sign up with World ID")
    problem(ada, "Tell the operator of the server (malformed_request).")
    app.throws = None
    app.always = {"throws": "Poll failed: error sending request"}
    press(ada, "Sign up with World ID")
    state(ada, "Scan this code with World App")
    ada.page.clock.run_for(15_000)
    problem(ada, "World cannot be reached.")


def test_a_proof_is_not_lost_with_the_server_s_answer(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    WorldApp(ada, world, "Ada insists")
    sent: list[Fields] = []

    def answer(route: Route) -> None:
        sent.append(route.request.post_data_json)
        if len(sent) == 1:
            route.abort()
        elif len(sent) == 2:
            error = {"code": "auth_unavailable", "message": "World does not answer.", "retry": True, "retryAfter": 0.1}
            route.fulfill(status=503, json=error)
        else:
            route.continue_()

    ada.page.route("**/api/v1/session", answer)
    sign_up(ada, server.url, "Ada")
    state(ada, "The server cannot be reached. Trying again…")
    ada.shows("#home")
    assert sent[0] == sent[1] == sent[2]
    assert sent[0]["purpose"] == "sign_up"
    assert {"session", "result"} < sent[0].keys()
    refused(ada, 503)
    ada.expect("net::ERR_FAILED")


def test_a_refusal_of_the_server_s_is_told_in_its_words(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    WorldApp(ada, world, "Ada refused")
    error = {"code": "auth_failed", "message": "World ID did not accept this proof.", "retry": False}
    ada.page.route("**/api/v1/session", lambda route: route.fulfill(status=401, json=error), times=1)
    sign_up(ada, server.url, "Ada")
    problem(ada, "World ID did not accept this proof.")
    refused(ada, 401)


def test_a_library_that_cannot_be_loaded_at_first(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    WorldApp(ada, world, "Ada without a library")
    ada.page.route("**/idkit.global.js", lambda route: route.abort(), times=1)
    sign_up(ada, server.url, "Ada")
    problem(ada, "library cannot be loaded.")
    press(ada, "Sign up with World ID")
    ada.shows("#home")
    ada.expect("net::ERR_FAILED")


def test_a_qr_code_that_cannot_be_drawn_leaves_the_link(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada without a code")
    app.always = WAITING
    ada.page.route("**/worldid/qr", lambda route: route.fulfill(status=503, json={}))
    sign_up(ada, server.url, "Ada")
    ada.shows(".worldid-qr:has-text('cannot be shown')")
    assert ada.page.get_by_role("link", name="Open World App on this device").is_visible()
    refused(ada, 503)


# Other deployments


def test_within_world_app(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client(phone=True)
    app = WorldApp(ada, world, "Ada inside", inside=True)
    app.script = [failed("user_rejected")]
    sign_up(ada, server.url, "Ada")
    problem(ada, "You declined in World App.")
    press(ada, "Sign up with World ID")
    ada.shows("#home")
    assert [one["cancellable"] for one in app.completions] == [True] * 3
    assert all(one["timeout"] > 0 for one in app.completions)


def test_without_the_library(
    serve: Callable[..., Server], world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    server = serve(*configuration(world))
    ada = browser_client()
    answer = ada.page.goto(server.url)
    ada.shows("#sign-in-methods:has-text('Signing in with World ID is not set up for this page.')")
    assert ada.page.locator("#sign-in-methods button").count() == 0
    assert answer is not None
    assert "wasm" not in answer.headers["content-security-policy"]


def test_proofs_of_world_id_3(
    serve: Callable[..., Server], world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    server = serve(*configuration(world, idkit=str(IDKIT), legacy_proofs="true"))
    ada = browser_client()
    app = WorldApp(ada, world, "Ada of old")
    app.legacy = True
    sign_up(ada, server.url, "Ada")
    problem(ada, "say that you are new here")
    refused(ada, 401)
    ada.page.check("#worldid-new")
    press(ada, "Sign up with World ID")
    ada.shows("#home")
    sign_ups = [asked for asked in app.asked if asked["kind"] == "sign_up"]
    assert [asked["by"] for asked in sign_ups] == ["preset", "preset"], "constraints bind no signal into a proof of 3.0"
    assert [asked["human"]["type"] for asked in sign_ups] == ["ProofOfHuman"] * 2
    assert all(asked["config"]["allow_legacy_proofs"] is True for asked in sign_ups)
    user_id = kept(ada, "evanesce.account")["userId"]
    assert kept(ada, "evanesce.worldid") == {"userId": user_id}

    ada.shows("#reminder:has-text('not finished')")
    ada.page.click("#reminder-open")
    assert ada.page.locator(".worldid-code").count() == 0
    ada.page.click("#sign-out")
    ada.shows("#confirm-text:has-text('you cannot sign in again')")
    press(ada, "Cancel")
    press(ada, "Finish setting up World ID")
    ada.shows("#account .problem:has-text('Update it, and try again.')")

    app.legacy = False  # the new World App
    app.script = [failed("user_rejected")]
    press(ada, "Finish setting up World ID")
    ada.shows("#account .problem:has-text('You declined in World App.')")
    press(ada, "Finish setting up World ID")
    no_more_to_do(ada)
    assert [(asked["kind"], asked["human"]["type"]) for asked in app.asked[-2:]] == [
        ("create_session", "proof_of_human"),
        ("sign_up", "OrbLegacy"),
    ]
    ada.shows(".worldid-code code")
    ada.page.click("#account >> text=Done")
    ada.page.locator("#reminder").wait_for(state="hidden")
    ada.page.click("#account-open")
    ada.page.click("#sign-out")
    press(ada, "Sign in with World ID")
    ada.shows("#home")
    assert kept(ada, "evanesce.account")["userId"] == user_id


def test_what_idkit_is_asked_for(
    server: Server, world: SimulatorProcess, browser_client: Callable[..., BrowserClient]
) -> None:
    ada = browser_client()
    app = WorldApp(ada, world, "Ada asked")
    sign_up(ada, server.url, "Ada")
    ada.shows("#home")
    ada.page.click("#account-open")
    ada.page.click("#sign-out")
    press(ada, "Sign in with World ID")
    ada.shows("#home")
    for asked in app.asked:
        config = asked["config"]
        assert config["app_id"] == world.settings["app_id"]
        assert config["environment"] == world.settings["environment"]
        assert config["bridge_url"] == world.settings["bridge_url"]
        assert config["override_connect_base_url"] == world.settings["connect_url"]
        assert config["rp_context"]["rp_id"] == world.settings["rp_id"]
        assert asked["by"] == "constraints"
        assert asked["human"]["type"] == "proof_of_human"
        assert asked["human"]["signal"].startswith("0x")
    create, sign_up_, sign_in = (asked["config"] for asked in app.asked)
    made, proved = app.asked[0]["human"]["signal"], app.asked[1]["human"]["signal"]
    assert proved == made + sign_in["sessionId"].removeprefix("session_"), "the proof names the session"
    assert (sign_up_["action"], sign_up_["allow_legacy_proofs"]) == (world.settings["action"], False)
    assert "action" not in create
    assert sign_in["sessionId"].startswith("session_")
