"""World's own IDKit, in a real browser, against the simulated bridge, phone, nodes and portal.

IDKit's page is of another origin than the simulator, and under a policy as strict as Evanesce's own.
"""

from __future__ import annotations

import functools
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.rp_signature import RpContext, Signer
from tests.patience import PATIENCE
from tests.worldid.idkit import fetch
from tests.worldid.process import SimulatorProcess, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

SIGNAL = "0x" + "5a" * 32
ASK = """async ([kind, config, sessionId, preset]) => {
    const builder = kind === "sign_in" ? IDKit.proveSession(sessionId, config)
        : kind === "create_session" ? IDKit.createSession(config) : IDKit.request(config);
    window.asked = await (preset === null
        ? builder.constraints(IDKit.CredentialRequest("proof_of_human", {signal: config.signal}))
        : builder.preset(IDKit[preset]({signal: config.signal})));
    return asked.connectorURI;
}"""
POLL = "() => asked.pollUntilCompletion({pollInterval: 20, timeout: 60000})"
POLL_ONCE = "() => asked.pollOnce()"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a page that loads IDKit, which may talk to `bridge` and to nobody else."""

    bridge = ""

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        page = b'<!doctype html><title>A page</title><script src="/idkit.global.js"></script>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' {self.bridge}",
        )
        self.end_headers()
        self.wfile.write(page)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


class App:
    """A page with IDKit in it, and the server that signs its requests."""

    def __init__(self, page: Page, simulator: SimulatorProcess) -> None:
        self.page = page
        self.simulator = simulator
        self.settings = simulator.settings
        self.signer = Signer(self.settings["signing_key"])

    def context(self, kind: str, **changes: Any) -> RpContext:
        """Sign a request."""
        action = self.settings["action"] if kind == "sign_up" else None
        return self.signer.context(
            self.settings["rp_id"], now=int(time.time()) + changes.get("ahead", 0), seconds=300, action=action
        )

    def ask(
        self,
        kind: str,
        context: RpContext | None = None,
        *,
        session_id: str | None = None,
        preset: str | None = None,
        **changes: Any,
    ) -> str:
        """Leave a request at the bridge by IDKit; return the link that a phone would scan."""
        config = {
            "app_id": self.settings["app_id"],
            "rp_context": msgspec.to_builtins(context or self.context(kind)),
            "bridge_url": self.settings["bridge_url"],
            "override_connect_base_url": self.settings["connect_url"],
            "environment": self.settings["environment"],
            "signal": SIGNAL,
        }
        if kind == "sign_up":
            config |= {"action": self.settings["action"], "allow_legacy_proofs": False}
        uri = self.page.evaluate(ASK, [kind, config | changes, session_id, preset])
        assert uri.startswith(f"{self.settings['connect_url']}?t=wld&i=")
        return str(uri)

    def poll(self) -> dict[str, Any]:
        """Wait as IDKit does; return what the page receives."""
        answer: dict[str, Any] = self.page.evaluate(POLL)
        return answer

    def result(self) -> dict[str, Any]:
        """Wait for a proof."""
        answer = self.poll()
        assert answer["success"] is True, answer
        result: dict[str, Any] = answer["result"]
        return result

    def verify(self, result: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Verify the page's result at the portal."""
        status, answer = self.simulator.ask("POST", f"/api/v4/verify/{self.settings['rp_id']}", result)
        return status, answer


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with running(tmp_path_factory.mktemp("simulator"), "--bind", "127.0.0.1:0") as simulator:
        yield simulator
        assert simulator.errors == ""


@pytest.fixture(scope="module")
def address(idkit: Path, simulator: SimulatorProcess) -> Iterator[str]:
    handler = type("Handler", (Handler,), {"bridge": simulator.url})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(idkit))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        serving.join()


@pytest.fixture
def app(browser: Browser, address: str, simulator: SimulatorProcess) -> Iterator[App]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(address)
    yield App(page, simulator)
    context.close()
    assert problems == []


def test_where_npm_is_missing_the_tests_are_seen_to_be_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no npm"):
        fetch(tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not skipped"):
        fetch(tmp_path)


# Proofs


def test_a_person_signs_up_once(app: App) -> None:
    context = app.context("sign_up")
    uri = app.ask("sign_up", context)
    assert app.page.evaluate(POLL_ONCE) == {"type": "waiting_for_connection"}
    assert app.simulator.scan("Ana", uri) == {"success": True}
    result = app.result()
    [item] = result["responses"]
    assert {name: value for name, value in result.items() if name != "responses"} == {
        "protocol_version": "4.0",
        "nonce": context.nonce,
        "action": "sign-up",
        "environment": "staging",
    }
    assert (item["identifier"], item["issuer_schema_id"]) == ("proof_of_human", 1)
    assert item["signal_hash"] == encoding.signal_hash(SIGNAL)
    assert item["expires_at_min"] == context.created_at

    status, answer = app.verify(result)
    assert (status, answer["success"], answer["action"]) == (200, True, "sign-up")
    assert encoding.nullifier(answer["nullifier"]) == encoding.nullifier(item["nullifier"])

    assert app.simulator.scan("Ben", app.ask("sign_up")) == {"success": True}
    [other] = app.result()["responses"]
    assert encoding.nullifier(other["nullifier"]) != encoding.nullifier(item["nullifier"])


def test_a_person_makes_a_session_and_proves_it(app: App) -> None:
    assert app.simulator.scan("Ana", app.ask("create_session")) == {"success": True}
    made = app.result()
    assert set(made) == {"protocol_version", "nonce", "session_id", "environment", "responses"}
    status, answer = app.verify(made)
    assert (status, answer["success"], answer["session_id"]) == (200, True, made["session_id"])

    context = app.context("sign_in")
    uri = app.ask("sign_in", context, session_id=made["session_id"])
    assert app.simulator.scan("Ana", uri) == {"success": True}
    again = app.result()
    assert (again["session_id"], again["nonce"]) == (made["session_id"], context.nonce)
    [first], [second] = made["responses"], again["responses"]
    assert second["session_nullifier"] != first["session_nullifier"]
    assert second["signal_hash"] == encoding.signal_hash(SIGNAL)
    status, answer = app.verify(again)
    assert (status, answer["success"], answer["session_id"]) == (200, True, made["session_id"])
    assert answer["results"][0]["nullifier"] == second["session_nullifier"][0]

    uri = app.ask("sign_in", session_id=made["session_id"])
    assert app.simulator.scan("Ben", uri) == {"success": False, "error": "generic_error"}
    assert app.poll() == {"success": False, "error": "generic_error"}


@pytest.mark.parametrize("change", ["nonce", "action", "nullifier", "proof"])
def test_what_idkit_gave_holds_for_what_it_says_alone(app: App, change: str) -> None:
    app.simulator.scan("Ana", app.ask("sign_up"))
    result = app.result()
    [item] = result["responses"]
    match change:
        case "nullifier":
            item["nullifier"] = "0x" + "12" * 32
        case "proof":
            item["proof"][0] = "1"
        case _:
            result[change] = "0x1"
    status, answer = app.verify(result)
    assert (status, answer["code"], answer["results"][0]["code"]) == (400, "all_verifications_failed", "invalid_proof")


def test_a_preset_binds_the_signal_into_a_legacy_proof(app: App) -> None:
    uri = app.ask("sign_up", preset="proofOfHuman", allow_legacy_proofs=True)
    assert app.simulator.scan("Ana", uri, legacy=True) == {"success": True}
    result = app.result()
    [item] = result["responses"]
    assert (result["protocol_version"], item["identifier"]) == ("3.0", "orb")
    assert item["signal_hash"] == encoding.signal_hash(SIGNAL)
    status, answer = app.verify(result)
    assert (status, answer["protocol_version"]) == (200, "3.0")
    assert encoding.nullifier(answer["nullifier"]) == encoding.nullifier(item["nullifier"])


def test_a_preset_asks_for_a_legacy_proof_alone(app: App) -> None:
    """By it somebody whose account was made by 3.0 shows that it is theirs, with an app of 4.0."""
    uri = app.ask("sign_up", preset="orbLegacy", allow_legacy_proofs=True)
    assert app.simulator.scan("Ana", uri) == {"success": True}
    alone = app.result()
    assert (alone["protocol_version"], alone["responses"][0]["signal_hash"]) == ("3.0", encoding.signal_hash(SIGNAL))
    assert app.verify(alone)[0] == 200
    uri = app.ask("sign_up", preset="proofOfHuman", allow_legacy_proofs=True)
    assert app.simulator.scan("Ana", uri, legacy=True) == {"success": True}
    [item], [other] = alone["responses"], app.result()["responses"]
    assert encoding.nullifier(item["nullifier"]) == encoding.nullifier(other["nullifier"])


def test_constraints_bind_no_signal_into_a_legacy_proof(app: App) -> None:
    uri = app.ask("sign_up", allow_legacy_proofs=True)
    assert app.simulator.scan("Ana", uri, legacy=True) == {"success": True}
    assert app.result()["responses"][0]["signal_hash"] == encoding.signal_hash("")


def test_the_prove_endpoint_gives_what_idkit_gives(app: App) -> None:
    """So that tests without a browser are of what a browser would have."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(part) for name, part in value.items()}
        if isinstance(value, list):
            return [shape(part) for part in value]
        if isinstance(value, str) and value.startswith("0x"):
            return "hexadecimal"
        return "decimal" if isinstance(value, str) and value.isdecimal() else type(value)

    session_id = ""
    for kind in ("sign_up", "create_session", "sign_in"):
        app.simulator.scan("Ana", app.ask(kind, session_id=session_id))
        result = app.result()
        session_id = result.get("session_id", "")
        challenge = {
            "person": "Ana",
            "purpose": kind,
            "appId": app.settings["app_id"],
            "rpId": app.settings["rp_id"],
            "environment": "staging",
            "action": "sign-up",
            "sessionId": session_id,
            "signal": SIGNAL,
            "rpContext": msgspec.to_builtins(app.context(kind)),
        }
        status, answer = app.simulator.ask("POST", "/simulator/prove", challenge)
        assert (status, answer["success"]) == (200, True)
        assert shape(answer["result"]) == shape(result)
        if kind == "sign_up":
            ours, theirs = answer["result"]["responses"][0], result["responses"][0]
            assert encoding.nullifier(ours["nullifier"]) == encoding.nullifier(theirs["nullifier"])


# Refusals


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"reject": True}, "user_rejected"),
        ({"legacy": True}, "world_id_4_not_available"),
    ],
)
def test_what_the_phone_refuses(app: App, answer: dict[str, bool], error: str) -> None:
    assert app.simulator.scan("Ana", app.ask("sign_up"), **answer) == {"success": False, "error": error}
    assert app.poll() == {"success": False, "error": error}


def test_what_the_nodes_refuse(app: App) -> None:
    def refused(context: RpContext, **changes: Any) -> str:
        uri = app.ask("sign_up", context, **changes)
        answer = app.simulator.scan("Ana", uri)
        assert app.poll() == answer
        return str(answer["error"])

    used = app.context("sign_up")
    app.simulator.scan("Ana", app.ask("sign_up", used))
    assert refused(used) == "duplicate_nonce"
    assert refused(app.context("sign_up"), action="another") == "invalid_rp_signature"
    assert refused(app.context("sign_in")) == "invalid_rp_signature"
    assert refused(app.context("sign_up", ahead=-301)) == "timestamp_too_old"
    assert refused(app.context("sign_up"), app_id="app_staging_another") == "malformed_request"
    assert refused(app.context("sign_up"), environment="sandbox") == "invalid_network"
    other = msgspec.structs.replace(app.context("sign_up"), rp_id="rp_00000000000000ff")
    assert refused(other) == "unknown_rp"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"app_id": "app_0123"}, "must use HTTPS"),
        ({"bridge_url": "http://192.0.2.1:8100"}, "must use HTTPS"),
        ({"bridge_url": "https://bridge.example:8443"}, "must use the default port"),
        ({"bridge_url": "https://bridge.example/bridge"}, "must not have a path"),
    ],
)
def test_idkit_takes_a_bridge_without_tls_for_a_staging_app_nearby_alone(
    app: App, changes: dict[str, str], problem: str
) -> None:
    with pytest.raises(Exception, match=problem):
        app.ask("sign_up", **changes)


# The page


def test_a_developer_clicks_the_link_types_a_name_and_approves(app: App, browser: Browser) -> None:
    def visit(act: Callable[[Page], None]) -> None:
        context = browser.new_context()
        phone = context.new_page()
        phone.set_default_timeout(1000 * PATIENCE)
        problems: list[str] = []
        phone.on("console", lambda message: problems.append(message.text))
        phone.goto(app.ask("sign_up"))
        act(phone)
        context.close()
        assert problems == []

    def approve(phone: Page) -> None:
        phone.get_by_label("Your name").fill("Zoë <b>")
        phone.get_by_role("button", name="Approve").click()
        phone.get_by_text("Approved as Zoë <b>. Go back to the app.").wait_for()
        assert phone.locator("b").count() == 0

    def reject(phone: Page) -> None:
        phone.get_by_role("button", name="Reject").click()
        phone.get_by_text("The app received: user_rejected.").wait_for()

    visit(approve)
    result = app.result()
    assert app.verify(result)[0] == 200
    assert app.simulator.scan("Zoë <b>", app.ask("sign_up")) == {"success": True}
    [again] = app.result()["responses"]
    assert encoding.nullifier(again["nullifier"]) == encoding.nullifier(result["responses"][0]["nullifier"])
    visit(reject)
    assert app.poll() == {"success": False, "error": "user_rejected"}
