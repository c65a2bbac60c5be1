"""The contracts of `evanesce.hookspecs` and `evanesce.interfaces`, and whether what plugins provide fulfils them.

Hook implementations and components are checked before the server starts: each of these functions returns what is
wrong. Results of calls are checked while it runs: each of these functions returns the result, or raises
`ContractViolation`. No text holds the checked object: it may be a secret or a user's.
"""

from __future__ import annotations

import inspect
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec
import pluggy

from evanesce.errors import CommandError, ErrorCode
from evanesce.hookspecs import Hooks
from evanesce.interfaces import Challenge, CliCommand, HttpResponse, HttpRoute, SignInPage, StaticFile
from evanesce.model import Draft, Identity, KnownUser
from evanesce.plugins.faults import ContractViolation, called_function
from evanesce.protocol import codec

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The methods that a route may have (RFC 9110, section 9; RFC 5789)."""

SUBJECT_CHARACTERS = 255
"""The longest `Identity.subject`, in code points."""

CHALLENGE_BYTES = codec.FRAME_BYTES - 1_024
"""The largest `Challenge.fields` as JSON: with what the server adds, they fit into one frame."""

KEPT_BYTES = 65_536
"""The most that is kept with a challenge."""

LONGEST_CHALLENGE = 86_400.0
"""The longest lifetime of a challenge, in seconds."""

MESSAGE_CHARACTERS = 1_000
"""The longest message of an error that a client is sent, in characters."""

_HOOKS = {name: spec for name, spec in vars(Hooks).items() if name.startswith("evanesce_")}

_SIGN_IN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_COMMAND = re.compile(r"[a-z0-9][a-z0-9-]*")

# RFC 3986, section 3.3, without percent-encoding, and without what routers read as a pattern: < > { } *.
_ROUTE_PATH = re.compile(r"(?:/[\w.~!$&'()+,;=:@-]+)+/?", re.ASCII)

_MODULE_PATH = re.compile(r"/(?!/)[\w.~!$&'()*+,;=:@%/-]*", re.ASCII)  # RFC 3986, 3.3; "//…" is another origin

# A directive that restricts from where something is loaded, or the names of Trusted Types policies. `default-src` is
# not allowed, because it would apply to all of them; directives of other kinds protect the page from other pages.
_Directive = Annotated[str, msgspec.Meta(pattern=r"^(?:(?!default-)[a-z]+-src|trusted-types)\Z")]
# Visible ASCII without the separators of directives and policies, ";" and ",".
_Source = Annotated[str, msgspec.Meta(pattern=r"^[!-+\--:<-~]+\Z")]

_OWN_FIELDS = frozenset({"type", "ref", "challengeId", "expiresAt"})
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "keep-alive", "te", "trailer"}) | {
    "transfer-encoding",
    "upgrade",
}


# --- hook implementations and components: checked before the server starts ------------------------------------------


def is_async_hook(hook: str) -> bool:
    """Return whether `hook` is awaited, while the server runs."""
    return inspect.iscoroutinefunction(_HOOKS[hook])


def is_async_callable(function: object) -> bool:
    """Return whether calling `function` returns an awaitable: an async function, method, partial or callable object."""
    return inspect.iscoroutinefunction(called_function(function))


def hook_problem(plugin: object, callers: Sequence[pluggy.HookCaller]) -> str | None:
    """Return what is wrong with a plugin's implementations of the hooks of `callers`; None: nothing.

    An implementation that would never be called, or could not be, is a problem too.
    """
    for caller in callers:
        if caller.name not in _HOOKS:
            return f"{caller.name} is not a hook of this version of Evanesce"
        [implementation] = [one for one in caller.get_hookimpls() if one.plugin is plugin]
        if implementation.hookwrapper or implementation.wrapper:
            return f"{caller.name} is a wrapper, which Evanesce does not support: each plugin is called separately"
        if isinstance(plugin, type) and inspect.isfunction(inspect.getattr_static(plugin, caller.name, None)):
            return f"it is a class, and {caller.name} needs an object of it: name such an object in the entry point"
        if is_async_hook(caller.name) != inspect.iscoroutinefunction(implementation.function):
            return f"{caller.name} must be {'async def' if is_async_hook(caller.name) else 'def, not async def'}"
    for hook in sorted(_HOOKS.keys() - {caller.name for caller in callers}):
        if inspect.isroutine(getattr(plugin, hook, None)):
            return f"{hook} is not marked with @hookimpl"
    return None


def command_problem(command: CliCommand) -> str | None:
    """Return what is wrong with a subcommand; None: nothing."""
    texts = (cast(object, command.name), cast(object, command.help))
    if not all(isinstance(text, str) for text in texts) or not _COMMAND.fullmatch(command.name):
        return "a command's name must consist of lower-case letters, digits and -, and its help must be a str"
    return None


def component_problem(component: object, contract: type) -> str | None:
    """Return what a component lacks of its contract, or has in another form; None: nothing."""
    wanted = [name for name in vars(contract) if not name.startswith("_") or name in ("__aenter__", "__aexit__")]
    if missing := [name for name in wanted if not hasattr(component, name)]:
        return f"is no {contract.__name__}: it has no {', '.join(missing)}"
    for name in wanted:
        if inspect.iscoroutinefunction(getattr(contract, name)) and not is_async_callable(getattr(component, name)):
            return f"is no {contract.__name__}: its {name} must be async def"
    return None


def route_problem(route: HttpRoute, reserved: Iterable[str]) -> str | None:
    """Return what is wrong with a route; None: nothing.

    `reserved` are the paths that transports serve themselves; one that ends in `*` is a prefix.
    """
    method, path = cast(object, route.method), cast(object, route.path)
    if not isinstance(method, str) or method.upper() not in METHODS:
        return f"has a route whose method is none of {', '.join(METHODS)}"
    if not isinstance(path, str) or not _ROUTE_PATH.fullmatch(path):
        return f"has the route {path!r}: write an exact, absolute path such as /name/page, without patterns"
    if any(segment in (".", "..") for segment in path.split("/")):
        return f"has the route {path!r}: clients resolve . and .. before they send a path"
    for own in reserved:
        if path == own or (own.endswith("*") and path.startswith(own[:-1])):
            return f"has the route {path!r}, which a transport serves itself ({own}): choose another path"
    if not is_async_callable(route.handle):
        return f"has the route {path!r}, whose handle must be async def"
    return None if route.file is None else _file_problem(path, method, route.file)


def _file_problem(path: str, method: str, file: object) -> str | None:
    """Return what is wrong with the file of a route; None: nothing. A transport calls it without containment."""
    if type(file) is not StaticFile or method.upper() != "GET":
        return f"has the route {path!r}, whose file must be a StaticFile for GET: make it with evanesce.files"
    try:
        for coding in ("identity", *file.forms):
            check_response(file.respond({"Accept-Encoding": coding}))
    except Exception as error:  # its fields may have any type
        return f"has the route {path!r}, whose file cannot be served ({error})"
    return None


def page_problem(page: object, providers: Collection[str], taken: Collection[str]) -> str | None:
    """Return what is wrong with a sign-in page; None: nothing.

    `providers` are those of the enabled authenticators, `taken` those that have a page already. The page becomes part
    of an address and of a Content-Security-Policy.
    """
    if not isinstance(page, SignInPage):
        return "must return a SignInPage"
    try:
        provider = msgspec.convert(page.provider, str)
        module = msgspec.convert(page.module, str)
        msgspec.convert(page.sources, dict[_Directive, list[_Source]])
    except msgspec.ValidationError as error:
        return f'returned an invalid page ({error}): write sources as {{"connect-src": ["https://host"]}}'
    if provider not in providers:
        return f"names the provider {provider!r}, and no enabled plugin signs in with it"
    if provider in taken:
        return f"returned a second page for {provider!r}"
    if not _MODULE_PATH.fullmatch(module):
        return f"returned the module {module!r}: write an absolute path on this origin"
    return None


# --- results: checked while the server runs -------------------------------------------------------------------------


def check_identity(found: object) -> Identity | KnownUser:
    """Return the result of an authenticator. Raises `ContractViolation`."""
    if isinstance(found, KnownUser):
        _check_subject(found.user_id, "KnownUser.user_id")
        _check_sign_in_id(found.sign_in_id)
        return found
    if not isinstance(found, Identity):
        raise ContractViolation("authenticate must return an Identity or a KnownUser")
    _check_subject(found.subject, "Identity.subject")
    if not isinstance(cast(object, found.display_name), str):
        raise ContractViolation("Identity.display_name must be a str")
    if found.email is not None and not isinstance(cast(object, found.email), str):
        raise ContractViolation("Identity.email must be a str or None")
    if not (isinstance(cast(object, found.is_world_id), bool) and isinstance(cast(object, found.guest), bool)):
        raise ContractViolation("Identity.is_world_id and Identity.guest must be bool")
    _check_sign_in_id(found.sign_in_id)
    return found


def _check_sign_in_id(sign_in_id: object) -> None:
    """Raise `ContractViolation` for an id that another sign-in could have."""
    if sign_in_id is not None and not (isinstance(sign_in_id, str) and _SIGN_IN_ID.fullmatch(sign_in_id)):
        raise ContractViolation("sign_in_id must be None or a random UUID (version 4) in lower case")


def check_challenge(given: object) -> Challenge:
    """Return a challenge whose fields, written as JSON, fit into one frame. Raises `ContractViolation`."""
    if not isinstance(given, Challenge):
        raise ContractViolation("challenge must return a Challenge")
    kept, seconds = cast(object, given.kept), cast(object, given.seconds)
    if kept is not None and (not isinstance(kept, bytes) or len(kept) > KEPT_BYTES):
        raise ContractViolation(f"Challenge.kept must be None or at most {KEPT_BYTES} bytes")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ContractViolation("Challenge.seconds must be a number")
    if not 0 < seconds <= LONGEST_CHALLENGE:  # NaN is not either
        raise ContractViolation(f"Challenge.seconds must be above 0 and at most {LONGEST_CHALLENGE:g}")
    return Challenge(_checked_fields(given.fields), kept, float(seconds))


def _checked_fields(fields: object) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        raise ContractViolation("Challenge.fields must be a mapping")
    named = dict(cast("Mapping[object, Any]", fields))
    if not all(isinstance(name, str) for name in named):
        raise ContractViolation("the names of Challenge.fields must be str")
    if own := sorted(_OWN_FIELDS & cast("set[str]", named.keys())):
        raise ContractViolation(f"Challenge.fields has {', '.join(own)}, which the server sets: choose another name")
    try:
        written = msgspec.json.encode(named)
    except Exception:
        raise ContractViolation("Challenge.fields cannot be written as JSON") from None
    if len(written) > CHALLENGE_BYTES:
        raise ContractViolation(f"Challenge.fields takes more than {CHALLENGE_BYTES} bytes as JSON")
    return msgspec.json.decode(written, type=dict[str, Any])


def check_report(given: object) -> str:
    """Return the result of a `check` method, shortened. Raises `ContractViolation`."""
    if not isinstance(given, str):
        raise ContractViolation("check must return a str")
    return given[:MESSAGE_CHARACTERS]


def check_response(given: object) -> HttpResponse:
    """Return a response that can be sent as it is. Raises `ContractViolation`."""
    if not isinstance(given, HttpResponse):
        raise ContractViolation("a route must return an HttpResponse")
    body, status = cast(object, given.body), cast(object, given.status)
    if not isinstance(body, bytes):
        raise ContractViolation("HttpResponse.body must be bytes")
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ContractViolation("HttpResponse.status must be from 200 to 599")
    if not _HEADER_VALUE.fullmatch(given.content_type):
        raise ContractViolation("HttpResponse.content_type must be visible ASCII")
    headers = dict(given.headers)
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ContractViolation("HttpResponse.headers has an invalid name or value")
        if name.lower() in _OWN_HEADERS:
            raise ContractViolation(f"HttpResponse.headers sets {name.lower()}, which the transport sets")
    return HttpResponse(body, status, given.content_type, headers)


def check_filtered(draft: object, most_bytes: float) -> str | None:
    """Return the content that a filter returned; None where it changes nothing. Raises `ContractViolation`."""
    if draft is None:
        return None
    if not isinstance(draft, Draft) or not isinstance(cast(object, draft.content), str):
        raise ContractViolation("a filter must return a Draft or None")
    if len(draft.content.encode()) > most_bytes or not draft.content.strip():
        raise ContractViolation("a filter returned content that is empty or too long")
    return draft.content


def check_join_allowed(answer: object) -> None:
    """Raise `ContractViolation` for an answer that may be meant as a refusal, such as False."""
    if answer is not None:
        raise ContractViolation("evanesce_may_join must return None, or raise Rejected to refuse the join")


def error_problem(error: CommandError) -> str | None:
    """Return why an error that a plugin raised cannot be sent to a client; None: it can."""
    message, wait, field = cast("tuple[object, ...]", (error.message, error.retry_after, error.field))
    if not isinstance(cast(object, error.code), ErrorCode):
        return "an error's code must be an ErrorCode"
    if not _is_short_text(message):
        return f"an error's message must be a text of at most {MESSAGE_CHARACTERS} characters"
    if field is not None and not _is_short_text(field):
        return f"an error's field must be None or a text of at most {MESSAGE_CHARACTERS} characters"
    if wait is not None and (isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < math.inf):
        return "an error's retry_after must be None or a number of seconds, 0 or more"
    return None


def _check_subject(text: object, what: str) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= SUBJECT_CHARACTERS:
        raise ContractViolation(f"{what} must be a text of 1 to {SUBJECT_CHARACTERS} characters")
    if any(unicodedata.category(character) in _CONTROL for character in text):
        raise ContractViolation(f"{what} has control characters")


def _is_short_text(text: object) -> bool:
    """Return whether `text` is one of at most `MESSAGE_CHARACTERS` that UTF-8 can encode: no lone surrogates."""
    if not isinstance(text, str) or len(text) > MESSAGE_CHARACTERS:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
