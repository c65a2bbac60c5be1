"""The check of a transport's certificate: what clients would refuse in it."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from evanesce.interfaces import Finding, Setup
from evanesce.listening.settings import ListenSettings, load_tls

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH and X509_V_FLAG_NO_CHECK_TIME of OpenSSL
_OTHER_NAMES = (62, 64)
_NO_CHECK_TIME = 0x200000

_TURNS = 10
"""The most messages of each side in a TLS handshake: more than any handshake needs."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_BEGIN_TRUSTED = "-----BEGIN TRUSTED CERTIFICATE-----"
"""OpenSSL accepts this label only for the server's own certificate."""


def certificate_findings(setup: Setup, settings: ListenSettings, host: str | None) -> list[Finding]:
    """Return what clients would refuse in the certificate of a transport; nothing where it has none.

    `host` is the name that clients connect to; None: any. Raises `ConfigurationError` as `load_tls` does.
    """
    context = load_tls(settings, setup.folder, f"plugins.{setup.name}")
    if context is None or settings.certfile is None:
        return []
    others = _other_certificates(setup.folder / settings.certfile)
    setting = f"plugins.{setup.name}.certfile"
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


def certificate_expiry(setup: Setup, settings: ListenSettings) -> float:
    """Return when the certificate of a transport expires, in seconds since 1970.

    It is infinite without a certificate, and for one that no client accepts anyway. Raises as `certificate_findings`.
    """
    context = load_tls(settings, setup.folder, f"plugins.{setup.name}")
    if context is None:
        return math.inf
    try:
        return ssl.cert_time_to_seconds(_verified(context, _sent_certificate(context), None)["notAfter"])
    except ssl.SSLError:
        return math.inf


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
