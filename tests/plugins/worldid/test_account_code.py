"""Account codes: made at random, and read as people type them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_plugins.worldid import account_code

CODE = "0123456789ABCDEFGHJKMNPQRS"


def test_new_codes_are_all_different_and_use_every_digit() -> None:
    codes = [account_code.new() for _ in range(2_000)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", code) for code in codes)
    assert {code[0] for code in codes} == set("01234567"), "128 bits: the first digit has three of them"
    for place in range(1, account_code.LENGTH):
        assert {code[place] for code in codes} == set(account_code.DIGITS)


@pytest.mark.parametrize(
    "typed",
    [
        CODE,
        CODE.lower(),
        "0123-4567-89AB-CDEF-GHJK-MNPQ-RS",
        " 0123 4567 89ab cdef ghjk mnpq rs\n",
        "O123456789ABCDEFGHJKMNPQRS",
        "oi23456789abcdefghjkmnpqrs",
        "oL23456789abcdefghjkmnpqrs",
        "0l23456789abcdefghjkmnpqrs",
        "0I23\N{EN DASH}4567\N{EM DASH}89ab\N{NO-BREAK SPACE}cdef\N{NON-BREAKING HYPHEN}ghjk\N{MINUS SIGN}mnpqrs",
    ],
)
def test_a_code_is_read_as_people_type_it(typed: str) -> None:
    assert account_code.parse(typed) == CODE


@pytest.mark.parametrize(
    "typed",
    [
        "",
        CODE[:-1],
        CODE + "0",
        "8" + CODE[1:],
        CODE[:-1] + "U",
        CODE[:-1] + "u",
        CODE[:-1] + "*",
        CODE[:-1] + "é",
        CODE[:-1] + "\N{LATIN SMALL LETTER LONG S}",
        CODE[:-1] + "\N{LATIN SMALL LETTER DOTLESS I}",
        CODE[:-1] + "\N{ARABIC-INDIC DIGIT ONE}",
        CODE[:-1] + "\0",
        "00000000-0000-4000-8000-000000000001",
    ],
)
def test_what_is_no_code(typed: str) -> None:
    with pytest.raises(ValueError, match="26 digits") as refused:
        account_code.parse(typed)
    assert CODE[:10] not in str(refused.value), "a code that is nearly right is not shown"


@given(st.text(max_size=128))
def test_what_is_read_is_a_code_or_refused(typed: str) -> None:
    try:
        code = account_code.parse(typed)
    except ValueError:
        return
    assert account_code.parse(code) == code


def test_a_challenge_keeps_no_code() -> None:
    kept = account_code.digest(CODE)
    assert CODE not in kept
    assert account_code.matches(CODE, kept)
    assert not account_code.matches(CODE[:-1] + "T", kept)
