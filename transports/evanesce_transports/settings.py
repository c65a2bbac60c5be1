"""The settings of any transport that listens on a TCP port."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError
from evanesce.interfaces import Finding, Setup
from evanesce.webaddress import split_authority

FilePath = Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a file")]

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH and X509_V_FLAG_NO_CHECK_TIME of OpenSSL
_OTHER_NAMES = (62, 64)
_NO_CHECK_TIME = 0x200000

_TURNS = 10
"""The most messages of each side in a TLS handshake: more than any handshake needs."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_BEGIN_TRUSTED = "-----BEGIN TRUSTED CERTIFICATE-----"
"""OpenSSL accepts this label only for the server's own certificate."""


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address to listen on, TLS, and trusted proxies."""

    bind: str
    """The address to listen on, as `host:port` or `[host]:port`. With port 0 the system chooses a port."""
    certfile: FilePath | None = None
    """The certificate for TLS, a PEM file. Without it the server does not use TLS."""
    keyfile: FilePath | None = None
    """The private key of the certificate, if it is not in the same file."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For`, or else `Forwarded`, is trusted.

    Limits for an address apply to the clients of these proxies, not to the proxies.
    """


@dataclass(frozen=True, slots=True)
class Bind:
    """The address to listen on. With port 0 the system chooses the port."""

    host: str
    port: int


def parse_bind(text: str, path: str) -> Bind:
    """Parse `host:port` or `[host]:port`. Raises `ConfigurationError` about the key `path`."""
    hint = 'Write "HOST:PORT", such as "127.0.0.1:8000" or "[::1]:8000"'
    try:
        host, port = split_authority(text, zones=True)
    except ValueError as error:
        raise ConfigurationError(path, str(error), hint) from None
    if port is None:
        raise ConfigurationError(path, "has no port", hint)
    return Bind(host, port)


def load_tls(settings: ListenSettings, folder: Path, path: str) -> ssl.SSLContext | None:
    """Return the TLS context; None without a certificate. Raises `ConfigurationError` about a key below `path`."""
    if settings.certfile is None:
        if settings.keyfile is not None:
            raise ConfigurationError(f"{path}.keyfile", "there is a key without a certificate", "Set certfile too.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    key = None if settings.keyfile is None else folder / settings.keyfile
    for name, file in (("certfile", folder / settings.certfile), ("keyfile", key)):
        try:
            if file is not None:
                file.read_bytes()
        except OSError as error:
            problem = f"{file} cannot be read ({error.strerror})"
            raise ConfigurationError(f"{path}.{name}", problem, "Give a file that the server may read.") from None
    try:
        # With no password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(folder / settings.certfile, key, password="")
    except ssl.SSLError as error:
        setting = f"{path}.{'certfile' if key is None else 'keyfile'}"
        if error.reason == "KEY_VALUES_MISMATCH":
            problem, hint = "the key does not belong to the certificate", "Give the key that it was made with."
        elif key is None and b"PRIVATE KEY-----" not in (folder / settings.certfile).read_bytes():
            problem, hint = "there is no private key in the file", f"Name the file of the key in {path}.keyfile."
        else:
            problem = f"the certificate or its key cannot be used ({error.reason or 'not in PEM'})"
            hint = "Give PEM files, without a password."
        raise ConfigurationError(setting, problem, hint) from None
    return context


def find_problems(setup: Setup, settings: ListenSettings, *, serves_pages: bool) -> list[Finding]:
    """Return the problems of the certificate, and those between the settings and `server.public_url`.

    With `serves_pages`, the public URL leads to this transport.
    """
    scheme, host = urlsplit(setup.public_url).scheme, urlsplit(setup.public_url).hostname
    if settings.certfile is None:
        if scheme == "https" and not settings.trusted_proxies:
            return [_no_tls(setup)]
        return []
    found: list[Finding] = []
    if scheme == "http" and serves_pages:
        found.append(
            Finding(
                f"server.public_url is {setup.public_url}, but with certfile this transport uses only TLS",
                f"Set server.public_url to https://, or remove {_key(setup, 'certfile')}.",
                fails=True,
            )
        )
    # Behind a proxy only the proxy checks the certificate, for a name that may not be the public one.
    return found + _certificate(setup, settings, settings.certfile, None if settings.trusted_proxies else host)


def _no_tls(setup: Setup) -> Finding:
    return Finding(
        f"server.public_url is {setup.public_url}, but there is neither a certificate nor a trusted proxy: with a proxy"
        " for TLS all clients share its address and its limits, and without one no client can connect",
        f"Name the proxy in {_key(setup, 'trusted_proxies')}, or set {_key(setup, 'certfile')}.",
    )


def _certificate(setup: Setup, settings: ListenSettings, certfile: str, host: str | None) -> list[Finding]:
    context = load_tls(settings, setup.folder, f"plugins.{setup.name}")
    if context is None:
        raise AssertionError("certfile is set, but there is no certificate")
    others = _other_certificates(setup.folder / certfile)
    setting = _key(setup, "certfile")
    found: list[Finding] = []
    try:
        own = _sent_certificate(context)
        try:
            details = _verified(context, own, host)
        except (ssl.SSLCertVerificationError, ValueError) as error:  # ValueError: no certificate can contain the host
            if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code not in _OTHER_NAMES:
                raise
            text = f"the certificate of {setting} does not name {host}, the host of server.public_url"
            found.append(Finding(text, "Use a certificate for this host: browsers refuse others."))
            details = _verified(context, own, None)
    except ssl.SSLError as error:
        why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
        text = f"clients refuse the certificate of {setting} ({why})"
        return [*found, Finding(text, "Use a certificate for servers.", fails=True)]
    if problem := _out_of_date(details):
        text = f"the certificate of {setting} {problem}: clients refuse it"
        found.append(Finding(text, "Renew it, and check the clock of this machine.", fails=True))
    authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if others:
        authorities.load_verify_locations(cadata="\n".join(others))
    if problem := next(filter(None, map(_out_of_date, authorities.get_ca_certs())), None):
        text = f"a certificate of an authority in {setting}, after the first, {problem}: some clients refuse it"
        found.append(Finding(text, "Use the chain that came with the renewed certificate."))
    return found


def _out_of_date(details: Mapping[str, Any]) -> str | None:
    """Return why a certificate, as the module `ssl` describes it, is not valid now; None where it is valid."""
    now = time.time()
    if now > ssl.cert_time_to_seconds(details["notAfter"]):
        return f"has expired ({details['notAfter']})"
    if now < ssl.cert_time_to_seconds(details["notBefore"]):
        return f"is not valid yet (before {details['notBefore']})"
    return None


def _other_certificates(file: Path) -> list[str]:
    """Return the certificates of a PEM file after the first one, which is the server's."""
    text = file.read_text("latin-1").replace(" X509 CERTIFICATE-----", " CERTIFICATE-----")  # the old label
    before, *parts = text.split(_BEGIN)
    if _BEGIN_TRUSTED not in before:
        del parts[:1]
    return [_BEGIN + part.partition(_END)[0] + _END for part in parts]


def _sent_certificate(server: ssl.SSLContext) -> bytes:
    """Return the certificate that the server sends to clients. Raises `SSLError` where the handshake fails."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    certificate = _shake_hands(server, client, None).getpeercert(binary_form=True)
    if certificate is None:
        raise AssertionError("the server sent no certificate")
    return certificate


def _verified(server: ssl.SSLContext, certificate: bytes, host: str | None) -> Mapping[str, Any]:
    """Return a server's certificate, as the module `ssl` describes it, after a client that trusts it has verified it.

    The client ignores the time. Raises `SSLError` where it refuses the certificate, `ValueError` for an invalid `host`.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.check_hostname = host is not None
    client.load_verify_locations(cadata=certificate)
    return _shake_hands(server, client, host).getpeercert() or {}


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str | None) -> ssl.SSLObject:
    """Return the client's side after a handshake in memory. Raises `SSLError`; `ValueError` for an invalid `host`."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(_TURNS):
        with suppress(ssl.SSLWantReadError):
            asking.do_handshake()
            return asking
        with suppress(ssl.SSLWantReadError):
            serving.do_handshake()
    raise AssertionError("the handshake in memory did not end")


def _key(setup: Setup, name: str) -> str:
    return f"plugins.{setup.name}.{name}"
