"""Display names and mail addresses: what is taken, and what is refused with the field's path."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.errors import BadRequest, ErrorCode
from evanesce.protocol.fields import NAME_CHARACTERS, display_name, email_address


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "Ada Lovelace",
        "x" * NAME_CHARACTERS,
        "😀" * NAME_CHARACTERS,
        "अदिति शर्मा",
        "مریم\u200cعلوی",
        "שרה",
        "Nguyễn Văn Ánh",
        "1\ufe0f\u20e3",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "葛\U000e0100城",
        "👩\u200d👩\u200d👧\u200d👦",
        "❤\ufe0f",
        "<b>Robert'); DROP TABLE User;--</b>",
    ],
)
def test_names_of_every_script_are_given_as_they_are(name: str) -> None:
    assert display_name(name) == name


def test_a_name_is_trimmed_before_it_is_measured() -> None:
    assert display_name(" \t\u3000" + "x" * NAME_CHARACTERS + "\r\n") == "x" * NAME_CHARACTERS


@pytest.mark.parametrize("name", ["", "   ", "\n\u2028\u3000", "x" * (NAME_CHARACTERS + 1)])
def test_a_name_of_the_wrong_length_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 64 characters") as refused:
        display_name(name)
    assert refused.value.field == "displayName"
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_every_control_character_is_refused_inside_a_name() -> None:
    controls = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cc"]
    assert len(controls) == 65
    for control in [*controls, "\u2028", "\u2029", "\ud800", "\udfff", "\u202e", "\u2066", "\u2069"]:
        with pytest.raises(BadRequest, match="control characters"):
            display_name(f"a{control}b")


@pytest.mark.parametrize("code", [0x61C, *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_every_bidirectional_control_is_refused(code: int) -> None:
    with pytest.raises(BadRequest, match="control characters"):
        display_name(f"a{chr(code)}b")


@pytest.mark.parametrize(
    "name",
    ["\u200b", "\u3164", "\u2060", "\ufeff", "\u00ad", "\u2800", "\uffa0", "\u115f\u1160", "\u180e", "\U000e0001"],
)
def test_an_invisible_character_is_refused_alone_and_inside_a_name(name: str) -> None:
    for text in (name, f"Ada{name}", f"A{name}da"):
        with pytest.raises(BadRequest, match="invisible characters"):
            display_name(text)


@pytest.mark.parametrize("name", ["\u200d", "\u200c\u200c", "\ufe0f", "\u0301", "\u0301\u0302", "\U000e0067"])
def test_a_name_without_a_visible_character_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="visible character"):
        display_name(name)


def test_names_that_are_canonically_equal_become_the_same_name() -> None:
    assert display_name("e\u0301") == display_name("é") == "é"
    assert display_name("\u212bngstro\u0308m") == "Ångström"


def test_combining_marks_are_counted_in_a_row_and_after_composition() -> None:
    assert display_name("q\u0301\u0302x\u0301\u0302") == "q\u0301\u0302x\u0301\u0302"
    assert len(display_name("e\u0301\u0302\u0303")) == 3  # é and two marks
    with pytest.raises(BadRequest, match="combining marks"):
        display_name("q\u0301\u0302\u0303")


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d", "\ufe0f", "\U000e0067"])
def test_a_joiner_between_marks_does_not_begin_a_new_row(joiner: str) -> None:
    with pytest.raises(BadRequest, match="combining marks"):
        display_name("q" + f"\u0301\u0302{joiner}" * 10)


@pytest.mark.parametrize(
    "name",
    [
        "(service)",
        "Quiz (service)",
        "Quiz(service)",
        "Quiz (SERVICE)  ",
        "Quiz ( service )",
        "Quiz\u00a0(service)",
        "Quiz \uff08\uff53ervice\uff09",  # full width
        "Quiz (\U0001d42c\U0001d41e\U0001d42b\U0001d42f\U0001d422\U0001d41c\U0001d41e)",  # bold
        "Quiz (\u0455\u0435rv\u0456\u0441\u0435)",  # Cyrillic
        "Quiz (ser\u03bdice)",  # Greek
        "Quiz (serv\u0131ce)",
        "Quiz \u2768service\u2769",
        "Quiz (service)\u200d",
        "Quiz (service)\ufe0f",
        "Quiz (se\u200crvice)",
        "Quiz (servic\u0117)",
    ],
)
def test_no_person_has_a_name_that_seems_to_be_of_a_service(name: str) -> None:
    with pytest.raises(BadRequest, match="only services"):
        display_name(name)


@pytest.mark.parametrize("name", ["service", "Room service", "Ada (services)", "(service) Ada", "Ada (Germany)"])
def test_other_names_with_that_word_or_in_parentheses_are_taken(name: str) -> None:
    assert display_name(name) == name


def test_the_path_of_the_field_is_the_callers() -> None:
    with pytest.raises(BadRequest) as refused:
        display_name("", "credential.displayName")
    assert refused.value.field == "credential.displayName"
    with pytest.raises(BadRequest) as refused:
        email_address("", "profile.email")
    assert refused.value.field == "profile.email"


@given(st.text(st.characters(), max_size=80))
def test_a_name_is_taken_once_and_for_all_or_refused(text: str) -> None:
    try:
        name = display_name(text)
    except BadRequest:
        return
    assert 1 <= len(name) <= NAME_CHARACTERS
    assert display_name(name) == name
    name.encode()


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.org",
        "a.b+tag_x-y@sub.example.co.uk",
        "o'neil@example.ie",
        "!#$%&'*+/=?^_`{|}~-@example.org",
        "1@1.example",
        "用户@例子.广告",
        "अदिति@उदाहरण.भारत",
        "x" * 64 + "@example.org",
    ],
)
def test_mail_addresses_are_given_as_they_are(address: str) -> None:
    assert email_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@example.",
        "ada@.org",
        "ada@example..org",
        "ada@-example.org",
        "ada@example-.org",
        "ada@exam_ple.org",
        "ada@@example.org",
        "a@b@example.org",
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "ada lovelace@example.org",
        " ada@example.org",
        "ada@example.org\n",
        "ada@example.org\nBcc: all@example.org",
        "Ada <ada@example.org>",
        "ada\u202e@example.org",
        "ada\ud800@example.org",
        "ada@" + "x" * 64 + ".org",
        "x" * 65 + "@example.org",
        "ü" * 33 + "@example.org",
        "ada@" + ".".join(["x" * 60] * 5) + ".org",
    ],
)
def test_what_is_no_mail_address_is_refused(address: str) -> None:
    with pytest.raises(BadRequest) as refused:
        email_address(address)
    assert refused.value.field == "email"
    assert refused.value.message == "This is not a mail address, such as ada@example.org."


def test_a_hostile_address_costs_no_time() -> None:
    with pytest.raises(BadRequest):
        email_address("a" * 100_000 + "@" + "b-" * 100_000)
    with pytest.raises(BadRequest):
        email_address("a@" + "b" * 60 + ("." + "b" * 30 + "-" * 30) * 3)
