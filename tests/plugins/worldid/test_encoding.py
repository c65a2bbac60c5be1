"""World ID's numbers and hashes: the published vectors, and every form that a number may not have."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evanesce_plugins.worldid.encoding import FIELD, hash_to_field, keccak256, nullifier, number, signal_hash

numbers = st.integers(min_value=0, max_value=FIELD - 1)


def test_keccak_is_not_sha3() -> None:
    # The vectors of the Keccak team for the empty message, before and after NIST changed the padding.
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert hashlib.sha3_256(b"").hexdigest() == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("", "0x00c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a4"),
        ("test_signal", "0x00c1636e0a961a3045054c4d61374422c31a95846b8442f0927ad2ff1d6112ed"),
        ("hello", "0x001c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36dea"),
        ("0x68656c6c6f", "0x001c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36dea"),
        ("0x68656C6C6F", "0x001c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36dea"),
        ("0xabc", "0x00851bb152e67e6c958ab7da1431fcaed09ce0efc598885f69a750b3b4b81fc1"),
        ("0x", "0x0039bef1777deb3dfb14f64b9f81ced092c501fee72f90e93d03bb95ee89df98"),
    ],
)
def test_signal_hashes_are_those_of_idkit(signal: str, expected: str) -> None:
    assert signal_hash(signal) == expected


@pytest.mark.parametrize("signal", ["0x68656c6c6f\n", "0x 68", "0x6865\u0661\u0662", "0X68656c6c6f", "68656c6c6f"])
def test_what_only_looks_like_bytes_is_text(signal: str) -> None:
    assert signal_hash(signal) == f"0x{hash_to_field(signal.encode()).hex()}"


@given(st.binary(max_size=300))
def test_a_hash_is_a_number_of_the_field(data: bytes) -> None:
    made = hash_to_field(data)
    assert len(made) == 32
    assert int.from_bytes(made, "big") == int.from_bytes(keccak256(data), "big") >> 8 < FIELD


@given(value=numbers, zeros=st.integers(min_value=0, max_value=64), upper=st.booleans())
@example(value=FIELD - 1, zeros=0, upper=False)
@example(value=0, zeros=63, upper=True)
def test_a_number_is_read_in_every_form(value: int, zeros: int, upper: bool) -> None:
    digits = f"{value:x}".rjust(min(64, len(f"{value:x}") + zeros), "0")
    assert number(f"0x{digits.upper() if upper else digits}") == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "abc",
        "12",
        "0",
        " 0xabc",
        "0xabc ",
        "0xabc\n",
        "-0xabc",
        "+0xabc",
        "0x-abc",
        "0x+abc",
        "0x_abc",
        "0xa_bc",
        "0x 1",
        "0Xabc",
        "0xabg",
        "0x0x1",
        "0x\u0661\u0662",  # Arabic digits, which `int` reads
        "0x\uff11",  # a full-width digit, which `int` reads too
        "0x" + "0" * 64 + "1",
        "0x" + "f" * 64,
        f"{FIELD:#x}",
        f"{FIELD + 1:#x}",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        number(text)


def test_a_number_is_at_most_66_characters() -> None:
    assert number("0x" + "0" * 63 + "7") == 7
    with pytest.raises(ValueError, match="up to 64"):
        number("0x" + "0" * 64 + "7")


@given(value=st.integers(min_value=1, max_value=FIELD - 1), width=st.integers(min_value=1, max_value=64))
def test_a_nullifier_has_one_stored_form(value: int, width: int) -> None:
    stored = nullifier(f"0x{value:0{width}X}")
    assert stored == nullifier(f"{value:#x}") == f"{value:064x}"
    assert len(stored) == 64


@pytest.mark.parametrize("text", ["0x0", "0x" + "0" * 64])
def test_no_nullifier_is_zero(text: str) -> None:
    with pytest.raises(ValueError, match="never 0"):
        nullifier(text)


def test_a_nullifier_below_the_field_alone_counts() -> None:
    assert nullifier(f"{FIELD - 1:#x}") == f"{FIELD - 1:064x}"
    with pytest.raises(ValueError, match="too large"):
        nullifier(f"{FIELD:#x}")
