"""What a person sees who follows a connector link to the simulator: a form that asks for a name and a decision."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from quart import Blueprint, Response, request

from evanesce_plugins.worldid.simulator import replies
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

_FORM = """<p>An app asks who you are. Here you are whoever you say.</p>
<form method="post" action="/verify">
<input type="hidden" name="uri" value="{uri}">
<label>Your name <input name="person" required maxlength="{length}" autofocus></label>
<label><input type="checkbox" name="legacy" value="yes"> my World ID is of version 3.0</label>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="reject" formnovalidate>Reject</button>
</form>"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def page_blueprint(phone: Phone) -> Blueprint:
    """Give the routes."""
    blueprint = Blueprint("page", __name__)

    @blueprint.after_request
    async def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"  # the request's key stands in the address
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
            return _told("Give a name.", 400)
        try:
            code = phone.scan(person, given.get("uri", ""), reject=reject, legacy=given.get("legacy") == "yes")
        except BadLink as error:
            return _told(f"This does not work: {error}.", 400)
        if code is None:
            return _told(f"Approved as {person}. Go back to the app.")
        return _told(f"The app was answered: {code}. Go back to it.")

    return blueprint


def _told(text: str, status: int = 200) -> Response:
    return _page(f"<p>{escape(text)}</p>", status)


def _page(body: str, status: int = 200) -> Response:
    return replies.html(_PAGE.format(body), status)
