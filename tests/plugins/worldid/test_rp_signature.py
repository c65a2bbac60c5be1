"""The RP signature: the published vectors, and that a signature holds for exactly what was signed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_plugins.worldid.rp_signature import RpContext, Signer, recover

KEY = "ab" * 32
ADDRESS = "0xe239cdc5fbe977a8a141b72194d3cf8c41bc5bc6"
NONCE = "0x008ae1aa597fa146ebd3aa2ceddf360668dea5e526567e92b0321816a4e895bd"
SESSION_SIGNATURE = (
    "0x14f693175773aed912852a601e9c0fd30f2afe2738d31388316232ce6f64ae9e"
    "4edbfb19d81c4229ba9c9fca78ede4b28956b7ba4415f08d957cbc1b3bdaa4021b"
)
ACTION_SIGNATURE = (
    "0x05594adb6c1495768a38d523d7d6ee6356b2c31231919198794ed022ade7d08f"
    "73753f83bd167067d99c9b969d28e9222315837c66af25867b041273a6d5056f1b"
)
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def sign(action: str | None, key: str = KEY) -> RpContext:
    return Signer(key).context(
        "rp_0123456789abcdef", now=1_700_000_000, seconds=300, action=action, random=bytes(range(32))
    )


@pytest.mark.parametrize(("action", "signature"), [(None, SESSION_SIGNATURE), ("test-action", ACTION_SIGNATURE)])
def test_signatures_are_those_of_the_published_vectors(action: str | None, signature: str) -> None:
    assert sign(action) == RpContext(
        rp_id="rp_0123456789abcdef",
        nonce=NONCE,
        created_at=1_700_000_000,
        expires_at=1_700_000_300,
        signature=signature,
    )


def test_a_context_is_written_as_idkit_takes_it() -> None:
    assert msgspec.to_builtins(sign(None)) == {
        "rp_id": "rp_0123456789abcdef",
        "nonce": NONCE,
        "created_at": 1_700_000_000,
        "expires_at": 1_700_000_300,
        "signature": SESSION_SIGNATURE,
    }


@pytest.mark.parametrize("key", [KEY, f"0x{KEY}", KEY.upper(), f"0x{KEY.upper()}"])
def test_a_key_is_read_with_and_without_its_prefix(key: str) -> None:
    assert Signer(key).address == ADDRESS


@pytest.mark.parametrize(
    "key",
    [
        "",
        "0x",
        "ab" * 31,
        "ab" * 33,
        f" {KEY}",
        f"{KEY}\n",
        "0x0x" + "ab" * 31,
        "\u0661" * 64,
        "ag" * 32,
        "0" * 64,
        f"{SECP256K1_ORDER:064x}",
        "f" * 64,
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="key") as refused:
        Signer(key)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert len(key) < 60 or key.strip() not in str(refused.value)


def test_the_key_is_shown_nowhere() -> None:
    signer = Signer(KEY)
    assert repr(signer) == f"<Signer {ADDRESS}>"
    assert KEY not in f"{signer} {vars(signer)!r}"


def test_each_context_has_a_nonce_of_its_own() -> None:
    signer = Signer(KEY)
    nonces = {signer.context("rp_1", now=1_700_000_000, seconds=300, action=None).nonce for _ in range(20)}
    assert len(nonces) == 20
    assert all(len(nonce) == 66 and nonce.startswith("0x00") for nonce in nonces)


@pytest.mark.parametrize(("action", "signature"), [(None, SESSION_SIGNATURE), ("test-action", ACTION_SIGNATURE)])
def test_the_signer_is_recovered(action: str | None, signature: str) -> None:
    context = sign(action)
    assert recover(context, action) == ADDRESS
    upper = msgspec.structs.replace(context, signature="0x" + signature[2:].upper())
    assert recover(upper, action) == ADDRESS


@given(
    key=st.integers(min_value=1, max_value=SECP256K1_ORDER - 1),
    now=st.integers(min_value=0, max_value=2**64 - 1_000),
    seconds=st.integers(min_value=0, max_value=999),
    action=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    random=st.binary(min_size=32, max_size=32),
)
def test_whatever_is_signed_is_recovered(key: int, now: int, seconds: int, action: str | None, random: bytes) -> None:
    signer = Signer(f"{key:064x}")
    assert recover(signer.context("rp_1", now=now, seconds=seconds, action=action, random=random), action) == (
        signer.address
    )


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"created_at": 1_700_000_001}, "test-action"),
        ({"expires_at": 1_700_000_301}, "test-action"),
        ({"nonce": "0x" + NONCE[4:65] + "0"}, "test-action"),
        ({}, "another-action"),
        ({}, ""),
        ({}, None),
        ({"signature": SESSION_SIGNATURE}, "test-action"),
        ({"signature": ACTION_SIGNATURE[:-1] + "c"}, "test-action"),
    ],
)
def test_a_signature_is_for_what_was_signed_alone(changes: dict[str, object], action: str | None) -> None:
    changed = msgspec.structs.replace(sign("test-action"), **changes)
    try:
        found = recover(changed, action)
    except ValueError:
        return  # some numbers are no signature of anybody's
    assert found != ADDRESS


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": ""},
        {"signature": "0x"},
        {"signature": ACTION_SIGNATURE[2:]},
        {"signature": ACTION_SIGNATURE + "00"},
        {"signature": ACTION_SIGNATURE[:-2] + "00"},
        {"signature": ACTION_SIGNATURE[:-2] + "1d"},
        {"signature": "0x" + "00" * 64 + "1b"},
        {"signature": "0x" + "ff" * 64 + "1b"},
        {"signature": ACTION_SIGNATURE + "\n"},
        {"nonce": ""},
        {"nonce": "0x" + "f" * 64},
        {"nonce": NONCE + "0"},
        {"created_at": -1},
        {"created_at": 2**64},
        {"expires_at": -1},
        {"expires_at": 2**64},
    ],
)
def test_what_is_malformed_is_signed_by_nobody(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"signature|number|time"):
        recover(msgspec.structs.replace(sign("test-action"), **changes), "test-action")
