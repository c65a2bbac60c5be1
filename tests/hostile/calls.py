"""The table of parsers that are called with untrusted input. Add a row for a new one."""

from __future__ import annotations

import base64
import collections
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from libsql_client.client import LibsqlError

from evanesce.accounts.tokens import TOKEN_CHARACTERS, Tokens
from evanesce.addresses import parse_proxies
from evanesce.errors import EvanesceError
from evanesce.logs import escaped
from evanesce.protocol import codec, fields
from evanesce.protocol.ciphertext import decode_ciphertext
from evanesce.protocol.commands import Challenge, Hello
from evanesce.store import cursor
from evanesce.store.redis.control_bus import NoticeQueue
from evanesce_plugins.sql.rooms import read_page_token
from evanesce_plugins.turso.clients import read_answer
from evanesce_plugins.worldid import encoding, proof, qr
from evanesce_plugins.worldid.authenticator import ChallengeRequest, Credential
from evanesce_transports import admission, client
from evanesce_transports.quart.connection import PlainReader
from evanesce_transports.quart.responses import refusal_response
from evanesce_transports.request import Head, PublicPath, Refused, Request
from evanesce_transports.response import prefers_page
from evanesce_transports.trio_websocket.connection import MessageSizes
from tests.hostile import costs
from tests.hostile.shapes import BROKEN, TEXTS, VALUES, BytesShape, TextShape, commands, encoded, numbered, repeated
from tests.plugins.worldid import results
from tests.transports.serving import FRAME_BYTES, FakeGateway, masked

# The table


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser, the function that measures it, and its inputs (shapes), by name."""

    name: str
    measure: costs.Measure
    shapes: Mapping[str, Callable[[int], Any]]
    most: int = costs.LARGEST
    """The largest size that the parser accepts."""


def called(
    name: str,
    parse: Callable[[Any], object],
    shapes: Mapping[str, Callable[[int], Any]],
    *refusals: type[Exception],
    most: int = costs.LARGEST,
) -> Parser:
    """Return a row: `parse` returns, or raises one of `refusals` and nothing else."""
    return Parser(name, costs.of_call(parse, (EvanesceError, *refusals)), shapes, most)


def in_pieces(
    name: str, begin: Callable[[], Callable[[bytes], object]], shapes: Mapping[str, Callable[[int], Any]], piece: int
) -> Parser:
    """Return a row of a reader that receives its input in pieces.

    Others may have their turn behind each piece; so many are measured together that the clock costs little.
    """
    together = max(1, 256 // piece)

    def measure(data: bytes) -> costs.Cost:
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
        feed = begin()
        read = costs.of_call(lambda some: collections.deque(map(feed, some), maxlen=0), ())
        measured = [read(pieces[at : at + together]) for at in range(0, len(pieces), together)]
        return costs.Cost(sum(cost.total for cost in measured), max(cost.longest for cost in measured))

    return Parser(f"{name}, {piece} bytes at a time", measure, shapes)


# What is measured


def read_credential(frame: str) -> None:
    """Parse a `hello` and the proof of World ID in it, up to the request to World."""
    command = codec.decode(frame)
    if isinstance(command, Hello) and command.credential is not None:
        given = msgspec.convert(command.credential, Credential)
        proof.check(given.result, results.wanted(), results.settings())


def read_challenge(frame: str) -> None:
    command = codec.decode(frame)
    if isinstance(command, Challenge):
        msgspec.convert(command.request, ChallengeRequest)


def credentials() -> dict[str, TextShape]:
    """Return proofs of World ID of which one part is large."""
    whole = {
        "type": "hello",
        "credential": {"provider": "worldid", "purpose": "sign_up", "challengeId": "c", "result": results.fields()},
    }
    result = results.fields(integrity_bundle={"a": 1}, session_id="s")
    shapes: dict[str, TextShape] = {}
    for path, holder in (("result", result), ("responses", results.item(session_nullifier=["1", "2"]))):
        for field in holder:
            for name, value in VALUES.items():
                shapes[f"{path}.{field}: {name}"] = _with(whole, path, field, value)
    for name, value in VALUES.items():
        shapes[f"integrity_bundle.a: {name}"] = _with(whole, "bundle", "a", value)
    return shapes


def _with(whole: dict[str, Any], path: str, field: str, value: TextShape) -> TextShape:
    marked = json.loads(json.dumps(whole))
    result = marked["credential"]["result"]
    holder = {
        "result": result,
        "responses": result["responses"][0],
        "bundle": result.setdefault("integrity_bundle", {}),
    }
    holder[path][field] = "HERE"
    before, _, after = json.dumps(marked).partition('"HERE"')
    return lambda size: before + value(size - len(before) - len(after)) + after


def read_notice(payload: bytes) -> None:
    NoticeQueue().push([payload])


def draw(text: bytes) -> None:
    qr.svg(qr.text_of(text))


def token(header: TextShape, *rest: str) -> TextShape:
    """Return a token whose first part is a header in base64; its others are `rest`."""

    def shape(size: int) -> str:
        whole = header((size - sum(map(len, rest))) * 3 // 4).encode("utf-8", "surrogatepass")
        return ".".join((base64.urlsafe_b64encode(whole).decode().rstrip("="), *rest))

    return shape


def tokens() -> dict[str, TextShape]:
    """Return almost valid tokens."""
    shapes = dict(TEXTS)
    for name, value in (VALUES | BROKEN).items():
        shapes[f"a header that is {name}"] = token(value, "e30", "AAAA")
        shapes[f"an algorithm that is {name}"] = token(_field("alg", value), "e30", "AAAA")
        shapes[f"a key id that is {name}"] = token(_field("kid", value), "e30", "AAAA")
    header = token(lambda size: '{"alg":"HS256","typ":"JWT"}')(0)
    shapes["claims"] = repeated("QUJD", f"{header}.", ".AAAA")
    shapes["a signature"] = repeated("QUJD", f"{header}.e30.")
    shapes["empty parts"] = repeated(".", header)
    return shapes


def _field(name: str, value: TextShape) -> TextShape:
    return lambda size: f'{{"typ":"JWT","{name}":{value(size - 40)},"alg":"HS256"}}'


def read_token(text: str) -> None:
    Tokens("s" * 32, token_seconds=60, refresh_seconds=60).read(text, 0)


def find_client(header: bytes) -> Callable[[bytes], None]:
    everywhere = parse_proxies(["0.0.0.0/0", "::/0"], "trusted")

    def find(value: bytes) -> None:
        head = Head(b"GET", b"/", [(b"host", b"x"), (header, value)], b"1.1")
        client.find_client("127.0.0.1", Request(head, b""), everywhere)

    return find


def refuse(head: bytes) -> None:
    refusal_response(Refused(400, "This is not an HTTP request."), head, FakeGateway(), PublicPath("/chat"))


def _utf8(shape: TextShape) -> BytesShape:
    return lambda size: shape(size).encode("utf-8", "surrogatepass")


def _framed_challenge(field: str, value: TextShape) -> TextShape:
    return lambda size: f'{{"type":"challenge","provider":"worldid","{field}":{value(size - 50)}}}'


def _notice(value: TextShape) -> TextShape:
    return lambda size: f'["TokenRevoked",{{"sign_in_id":{value(size - 35)}}}]'


def read_hrana(body: bytes) -> None:
    read_answer(body, 1)


def _hrana(path: str, value: TextShape) -> TextShape:
    before, after = {
        "error": ('{"results":[{"type":"error","error":', "}]}"),
        "rows": (
            '{"results":[{"type":"ok","response":{"result":{"step_errors":[null,null,null,null],'
            '"step_results":[null,{"cols":[],"affected_row_count":0,"last_insert_rowid":null,"rows":',
            "},null,null]}}}]}",
        ),
    }[path]
    return lambda size: before + value(size - len(before) - len(after)) + after


def plain_reader() -> Callable[[bytes], object]:
    reader = PlainReader(FRAME_BYTES)

    def feed(data: bytes) -> None:
        reader.receive(data)
        while reader.message() is not None:
            pass
        if not reader.disabled:
            reader.take_for_wsproto()

    return feed


def sizes() -> Callable[[bytes], object]:
    return MessageSizes(FRAME_BYTES).accept


def _times(frame: bytes) -> BytesShape:
    return lambda size: frame * (size // len(frame))


FRAMES: dict[str, BytesShape] = {
    "one message": lambda size: masked(1, b"a" * (size - 8)),
    "one message that never ends": lambda size: masked(1, b"a" * (size - 8))[:-1],
    "one binary message": lambda size: masked(2, b"a" * (size - 8)),
    "messages of 2 bytes": _times(masked(1, b"{}")),
    "messages of 1 byte": _times(masked(1, b"{")),
    "messages that are not UTF-8": _times(masked(1, b"\xff\xff")),
    "a length of 64 bits": lambda size: masked(1, b"a" * 70_000)[:size],
    "fragments of 1 byte": lambda size: masked(1, b"a", fin=False) + masked(0, b"a", fin=False) * (size // 7),
    "fragments of nothing": lambda size: masked(1, b"", fin=False) + masked(0, b"", fin=False) * (size // 6),
    "fragments of 100 bytes": lambda size: (
        masked(1, b"a", fin=False) + masked(0, b"a" * 100, fin=False) * (size // 106)
    ),
    "fragments with pings between": lambda size: (
        masked(1, b"", fin=False) + (masked(0, b"a", fin=False) + masked(9)) * (size // 13)
    ),
    "half characters": lambda size: masked(1, b"\xc3", fin=False) + (masked(0, b"\xa9\xc3", fin=False)) * (size // 8),
    "pings": _times(masked(9)),
    "pings of 125 bytes": _times(masked(9, b"p" * 125)),
    "pongs": _times(masked(10)),
    "pings and messages": _times(masked(9) + masked(1, b"{}")),
    "unmasked": lambda size: (b"\x81\x02{}" * size)[:size],
    "zeros": lambda size: bytes(size),
    "ones": lambda size: b"\xff" * size,
}
"""What a client may send over a WebSocket."""

HEADERS: dict[str, BytesShape] = {name: encoded(shape) for name, shape in TEXTS.items() if shape(64).isascii()}

PARSERS = [
    called("a frame's command", codec.decode, commands() | BROKEN),
    called("a proof of World ID", read_credential, credentials(), msgspec.ValidationError),
    called(
        "a challenge of World ID",
        read_challenge,
        {
            f"{field}: {name}": _framed_challenge(field, value)
            for field in ("purpose", "userId", "else")
            for name, value in VALUES.items()
        },
        msgspec.ValidationError,
    ),
    called("a display name", fields.display_name, TEXTS),
    called("a mail address", fields.email_address, TEXTS),
    called("a cursor", cursor.parse, TEXTS),
    called(
        "encrypted content",
        decode_ciphertext,
        TEXTS
        | {
            "of the right form but its size": repeated("QUJD-_", "", "=="),
            "of the other alphabet": repeated("+/"),
            "with padding throughout": repeated("QQ=="),
        },
    ),
    called("a page token", read_page_token, TEXTS),
    called(
        "a token",
        lambda text: Tokens("s" * 32, token_seconds=60, refresh_seconds=60).read(text, 0),
        tokens(),
        most=TOKEN_CHARACTERS,
    ),
    called("an Authorization header", admission.bearer, TEXTS | {"of a token": repeated(" ", "Bearer ", "x")}),
    called(
        "X-Forwarded-For",
        find_client(b"x-forwarded-for"),
        HEADERS
        | {
            name: encoded(repeated(hop, "", "::1"))
            for name, hop in {
                "short addresses": "::,",
                "IPv4": "127.0.0.1,",
                "IPv6": "::1,",
                "mapped addresses": "::ffff:1.2.3.4,",
                "zones": "::1%a,",
                "white space": " ,",
                "brackets and ports": "[::1]:1,",
                "quotes": '",',
            }.items()
        },
    ),
    called(
        "Forwarded",
        find_client(b"forwarded"),
        HEADERS
        | {
            name: encoded(repeated(hop, "", "for=::1"))
            for name, hop in {
                "addresses": "for=::1,",
                "quoted addresses": 'for="[::1]:1";proto=https,',
                "pairs": "for=::1;",
                "quotes": 'for=";',
                "quotes alone": '"',
                "equals signs": "=",
                "white space": " ,",
            }.items()
        },
    ),
    called(
        "an Accept header",
        lambda accept: prefers_page([accept]),
        TEXTS
        | {
            name: repeated(part)
            for name, part in {
                "media ranges": "text/html;q=0.1,",
                "parameters": "text/html;a=b;",
                "qualities": ";q=",
                "digits of a quality": "text/html;q=0.1111111111111111111111111111,",
            }.items()
        },
    ),
    called(
        "the head of a refused request",
        refuse,
        HEADERS
        | {
            name: encoded(shape)
            for name, shape in {
                "a path": repeated("a", "GET /"),
                "a path in percents": repeated("%41", "GET /"),
                "percents": repeated("%", "GET /"),
                "a path below the API's": repeated("/", "GET /api/v1/"),
                "origins": repeated("\r\norigin:", "GET /api/v1/ HTTP/1.1"),
                "an origin": repeated("x", "GET /api/v1/ HTTP/1.1\r\norigin:"),
                "tabs before an origin": repeated("\t", "GET /api/v1/ HTTP/1.1\r\norigin:", "x\r\n"),
                "tabs behind an origin": repeated("\t", "GET /api/v1/ HTTP/1.1\r\norigin: x", "x\r\n"),
            }.items()
        },
    ),
    called("the text of a QR code", draw, {name: _utf8(shape) for name, shape in TEXTS.items()}, most=qr.TEXT_BYTES),
    called("a number of World ID", encoding.number, TEXTS, ValueError),
    called("a signal of World ID", encoding.signal_hash, {k: v for k, v in TEXTS.items() if "surrogates" not in k}),
    called("what is logged", escaped, TEXTS),
    called(
        "a notice in Redis",
        read_notice,
        {name: _utf8(shape) for name, shape in (VALUES | BROKEN).items()}
        | {f"told: {name}": _utf8(_notice(shape)) for name, shape in (VALUES | BROKEN).items()}
        | {"many": encoded(numbered("%d,", "[", "1]"))},
    ),
    called(
        "an answer of a libSQL server",
        read_hrana,
        {name: _utf8(shape) for name, shape in (VALUES | BROKEN).items()}
        | {
            f"{path}: {name}": _utf8(_hrana(path, shape))
            for path in ("error", "rows")
            for name, shape in VALUES.items()
        },
        LibsqlError,
    ),
    in_pieces("plain frames", plain_reader, FRAMES, 1),
    in_pieces("plain frames", plain_reader, FRAMES, 16 * 1024),
    in_pieces("the sizes of messages", sizes, FRAMES, 1),
    in_pieces("the sizes of messages", sizes, FRAMES, 4096),
]
