"""What a transport finds in its settings: real certificates, each wrong in its own way, and the public address."""

from __future__ import annotations

import dataclasses
import datetime
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from evanesce.errors import ConfigurationError
from evanesce.interfaces import Finding
from tests.transports.serving import QUART, TRANSPORTS, build, module_of, setup_of

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PUBLIC = "https://chat.example"

on_each = pytest.mark.parametrize("transport", TRANSPORTS)


def find(transport: str, folder: Path, public_url: str = PUBLIC, **settings: Any) -> Sequence[Finding]:
    setup = dataclasses.replace(setup_of(transport, folder, **settings), public_url=public_url)
    found: Sequence[Finding] = module_of(transport).evanesce_findings(setup)
    return found


def issue(*names: str, since: float = -1, until: float = 1) -> trustme.LeafCert:
    """Issue a certificate that is valid from so many days until so many days from now."""
    return trustme.CA().issue_cert(*names, not_before=NOW + since * DAY, not_after=NOW + until * DAY)


def for_clients_alone() -> bytes:
    """Make a certificate that is not for servers."""
    authority = trustme.CA()
    leaf = authority.issue_cert("chat.example")
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    signer = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    assert isinstance(signer, EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chat.example")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("chat.example")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return leaf.private_key_pem.bytes() + certificate.public_bytes(Encoding.PEM)


def with_an_expired_authority() -> bytes:
    """Issue a valid certificate, and put an expired one of its authority behind it."""
    authority = trustme.CA()
    leaf = authority.issue_cert("chat.example")
    own = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(own.subject, own.subject, key.public_key(), 1, NOW - 9 * DAY, NOW - DAY)
    for extension in own.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    expired = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes() + expired


def labelled(text: bytes, label: str, count: int) -> bytes:
    """Return the first certificates of a file another label that OpenSSL takes for them too."""
    for end in (b"BEGIN ", b"END "):
        text = text.replace(end + b"CERTIFICATE", end + label.encode(), count)
    return text


def pem(leaf: trustme.LeafCert) -> bytes:
    return leaf.private_key_and_cert_chain_pem.bytes()


CERTIFICATES: list[tuple[str, Callable[[], bytes], list[tuple[str, bool]]]] = [
    ("good", lambda: pem(issue("chat.example")), []),
    ("good for more names", lambda: pem(issue("other.example", "chat.example", "127.0.0.1")), []),
    ("expired", lambda: pem(issue("chat.example", since=-9, until=-1)), [("has expired", True)]),
    ("not valid yet", lambda: pem(issue("chat.example", since=1, until=9)), [("is not valid yet", True)]),
    ("of another host", lambda: pem(issue("other.example")), [("does not name chat.example", False)]),
    ("of an address", lambda: pem(issue("127.0.0.1")), [("does not name chat.example", False)]),
    (
        "of another host, and expired",
        lambda: pem(issue("other.example", since=-9, until=-1)),
        [("does not name chat.example", False), ("has expired", True)],
    ),
    ("for clients alone", for_clients_alone, [("purpose", True)]),
    ("of an expired authority", with_an_expired_authority, [("certfile, after the first, has expired", False)]),
    *(
        (
            f"with the label {label}",
            lambda label=label, count=count: labelled(with_an_expired_authority(), label, count),
            [("certfile, after the first, has expired", False)],
        )
        for label, count in (("X509 CERTIFICATE", 2), ("TRUSTED CERTIFICATE", 1))
    ),
]


@on_each
@pytest.mark.parametrize(
    ("make", "expected"), [case[1:] for case in CERTIFICATES], ids=[case[0] for case in CERTIFICATES]
)
def test_a_certificate(
    transport: str, make: Callable[[], bytes], expected: list[tuple[str, bool]], tmp_path: Path
) -> None:
    (tmp_path / "server.pem").write_bytes(make())
    found = find(transport, tmp_path, certfile="server.pem")
    assert len(found) == len(expected), found
    for finding in found:
        assert any(text in finding.text and fails == finding.fails for text, fails in expected), found
        assert finding.advice
        assert f"plugins.{transport}.certfile" in finding.text


@on_each
def test_an_address_in_the_certificate_is_compared_with_one_in_the_public_url(transport: str, tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_bytes(pem(issue("192.0.2.1")))
    assert find(transport, tmp_path, "https://192.0.2.1:8000", certfile="server.pem") == []
    [finding] = find(transport, tmp_path, "https://192.0.2.2:8000", certfile="server.pem")
    assert "does not name 192.0.2.2" in finding.text


@on_each
def test_a_host_that_can_be_in_no_certificate_is_named(transport: str, tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_bytes(pem(issue("chat.example")))
    [finding] = find(transport, tmp_path, "https://.chat.example", certfile="server.pem")
    assert "does not name .chat.example" in finding.text


@on_each
def test_behind_a_proxy_the_certificate_may_have_another_name_but_not_be_expired(
    transport: str, tmp_path: Path
) -> None:
    (tmp_path / "server.pem").write_bytes(pem(issue("inside.example")))
    assert find(transport, tmp_path, certfile="server.pem", trusted_proxies=("10.0.0.1",)) == []
    (tmp_path / "server.pem").write_bytes(pem(issue("inside.example", since=-9, until=-1)))
    [finding] = find(transport, tmp_path, certfile="server.pem", trusted_proxies=("10.0.0.1",))
    assert finding.fails


@on_each
def test_a_proxy_on_a_unix_socket_has_to_be_trusted(transport: str, tmp_path: Path) -> None:
    for trusted in ((), ("127.0.0.1", "10.0.0.0/8")):
        [finding] = find(transport, tmp_path, bind="unix:chat.sock", trusted_proxies=trusted)
        assert f'Add "unix:" to plugins.{transport}.trusted_proxies' in finding.advice
        assert not finding.fails
    assert find(transport, tmp_path, bind="unix:chat.sock", trusted_proxies=("unix:",)) == []


@pytest.mark.parametrize(
    ("public_url", "certificate", "proxies", "quart", "trio_websocket"),
    [
        ("http://chat.example", False, False, [], []),
        ("http://chat.example", False, True, [], []),
        ("http://chat.example", True, False, [True], []),
        ("http://chat.example", True, True, [True], []),
        ("https://chat.example", False, False, [False], [False]),
        ("https://chat.example", False, True, [], []),
        ("https://chat.example", True, False, [], []),
        ("https://chat.example", True, True, [], []),
    ],
)
def test_how_tls_fits_the_public_url(
    public_url: str, certificate: bool, proxies: bool, quart: list[bool], trio_websocket: list[bool], tmp_path: Path
) -> None:
    """What is expected of each transport is whether each finding fails."""
    (tmp_path / "server.pem").write_bytes(pem(issue("chat.example")))
    settings: dict[str, Any] = {"certfile": "server.pem"} if certificate else {}
    if proxies:
        settings["trusted_proxies"] = ("10.0.0.1",)
    for transport in TRANSPORTS:
        found = find(transport, tmp_path, public_url, **settings)
        assert [finding.fails for finding in found] == (quart if transport == QUART else trio_websocket), found
        assert all(public_url in finding.text and finding.advice for finding in found)


@on_each
@pytest.mark.parametrize(
    ("case", "key", "told"),
    [
        ("another key", "keyfile", "the key does not belong to the certificate"),
        ("a key with a password", "keyfile", "the certificate or its key cannot be used"),
        ("no key", "certfile", "there is no private key in the file"),
        ("a missing key", "keyfile", "missing.pem cannot be read (No such file or directory)"),
        ("a missing certificate", "certfile", "missing.pem cannot be read (No such file or directory)"),
        ("a folder", "certfile", "cannot be read (Is a directory)"),
    ],
)
def test_what_can_never_work_ends_the_start(transport: str, case: str, key: str, told: str, tmp_path: Path) -> None:
    leaf = issue("chat.example")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    settings = {"certfile": "cert.pem", "keyfile": "key.pem"}
    match case:
        case "another key":
            issue("chat.example").private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        case "a key with a password":
            command = ["openssl", "pkey", "-aes256", "-passout", "pass:S3CR3T", "-out", str(tmp_path / "key.pem")]
            subprocess.run(command, input=leaf.private_key_pem.bytes(), check=True, capture_output=True)
        case "no key":
            del settings["keyfile"]
        case "a missing key":
            settings["keyfile"] = "missing.pem"
        case "a missing certificate":
            settings = {"certfile": "missing.pem"}
        case _:
            settings = {"certfile": "."}
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, tmp_path, **settings)
    assert wrong.value.path == f"plugins.{transport}.{key}"
    assert told in wrong.value.problem
    assert wrong.value.hint


@on_each
@pytest.mark.parametrize("days", [-3, 20])
def test_a_transport_knows_when_its_certificate_expires(tmp_path: Path, transport: str, days: int) -> None:
    leaf = issue("chat.example", since=-10, until=days)
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    built = build(transport, tmp_path, certfile="tls.pem")
    assert built.certificate_expires == pytest.approx((NOW + days * DAY).timestamp(), abs=1)


@on_each
def test_a_transport_without_a_certificate_has_none_that_expires(tmp_path: Path, transport: str) -> None:
    assert build(transport, tmp_path).certificate_expires == math.inf


@on_each
def test_a_certificate_that_no_client_accepts_stops_no_server(tmp_path: Path, transport: str) -> None:
    (tmp_path / "tls.pem").write_bytes(for_clients_alone())
    assert build(transport, tmp_path, certfile="tls.pem").certificate_expires == math.inf
