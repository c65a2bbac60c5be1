"""The page of a connector link: a form that asks for a name and a decision."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from quart import Blueprint, Response, request

from evanesce_plugins.worldid.simulator import responses
from evanesce_plugins.worldid.simulator.phone import BadLink, Phone

NAME_LENGTH = 100
"""The longest name of a person, in characters."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>World App, simulated</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 3rem auto; padding: 0 1rem; }}
input[name=person], button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: .5rem 0; }}
</style>
<h1>World App, simulated</h1>
{0}
</html>
"""

_FORM = """<p>An app asks who you are. Enter any name.</p>
<form method="post" action="/verify">
<input type="hidden" name="uri" value="{uri}">
<label>Your name <input name="person" required maxlength="{length}" autofocus></label>
<label><input type="checkbox" name="legacy" value="yes"> My World ID has version 3.0</label>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="reject" formnovalidate>Reject</button>
</form>"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def page_blueprint(phone: Phone) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("page", __name__)

    @blueprint.after_request
    async def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"  # the address contains the key of the request
        response.headers["Cache-Control"] = "no-store"
        return response

    @blueprint.get("/verify")
    async def ask() -> Response:
        return _page(_FORM.format(uri=escape(request.url), length=NAME_LENGTH))

    @blueprint.post("/verify")
    async def decide() -> Response:
        body: bytes = await request.body
        given = dict(parse_qsl(body.decode(errors="replace")))
        person = given.get("person", "")
        reject = given.get("decision") != "approve"
        if not reject and not 0 < len(person) <= NAME_LENGTH:
            return _told("Enter a name.", 400)
        try:
            code = phone.scan(person, given.get("uri", ""), reject=reject, legacy=given.get("legacy") == "yes")
        except BadLink as error:
            return _told(f"This link cannot be used: {error}.", 400)
        if code is None:
            return _told(f"Approved as {person}. Go back to the app.")
        return _told(f"The app received: {code}. Go back to the app.")

    return blueprint


def _told(text: str, status: int = 200) -> Response:
    return _page(f"<p>{escape(text)}</p>", status)


def _page(body: str, status: int = 200) -> Response:
    return responses.html(_PAGE.format(body), status)
