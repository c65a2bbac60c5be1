"""The person whom a typed name means: names are chosen freely, and need not be those of one person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.cli.people import (
    KNOWN_SENDERS,
    SOMEBODY,
    NotOnePerson,
    People,
    find_person,
    list_people,
    short_ids,
    split_person,
)

ANA, BEN, OTHER_BEN, CLEO, ODD = (
    "0a1b2c3d-0000-4000-8000-000000000000",
    "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1",
    "5b1f2c1e-1d3e-4c7e-8a43-6f4ad1f0d3a1",
    "77aa0b1c-0000-4000-8000-000000000000",
    "88aa0b1c-0000-4000-8000-000000000000",
)
PEOPLE = {ANA: "Ana", BEN: "Ben", OTHER_BEN: "Ben", CLEO: "cleo", ODD: "#5b1f"}


@pytest.mark.parametrize(
    ("typed", "person"),
    [
        ("Ana", ANA),
        ("ana", ANA),
        ("CLEO", CLEO),
        (f"#{BEN}", BEN),
        ("#5b1f2c1e-0", BEN),
        ("#5B1F2C1E-1", OTHER_BEN),
        ("#7", CLEO),
        ("#8", ODD),
    ],
)
def test_one_person_is_meant(typed: str, person: str) -> None:
    assert find_person(typed, PEOPLE) == person


@pytest.mark.parametrize("typed", ["", " ", "Dan", "An", "Ana ", "#", "#x", "#5b1f2c1e-2", ANA, "@Ana"])
def test_nobody_is_meant(typed: str) -> None:
    with pytest.raises(NotOnePerson, match="nobody here is called"):
        find_person(typed, PEOPLE)


@pytest.mark.parametrize("typed", ["Ben", "ben", "#5b1f", "#5b1f2c1e"])
def test_of_several_people_the_one_has_to_be_chosen(typed: str) -> None:
    with pytest.raises(NotOnePerson) as caught:
        find_person(typed, PEOPLE)
    assert str(caught.value) == (
        f"2 people are meant by {typed}: write #5b1f2c1e-0 or #5b1f2c1e-1 in place of the name"
    )


def test_the_name_as_it_is_written_comes_first() -> None:
    people = {ANA: "ana", BEN: "Ana"}
    assert find_person("Ana", people) == BEN
    assert find_person("ana", people) == ANA
    with pytest.raises(NotOnePerson):
        find_person("ANA", people)


@given(st.dictionaries(st.uuids(version=4).map(str), st.text(max_size=8), min_size=1))
def test_no_name_keeps_others_from_being_meant(people: dict[str, str]) -> None:
    """Whatever names people have: each can be meant by what is shown of the id."""
    for user_id, short in short_ids(people).items():
        assert find_person(f"#{short}", people) == user_id


@given(st.dictionaries(st.uuids(version=4).map(str), st.sampled_from(["Ana", "ana", "Ben", "#0", "Ana 7"])), st.text())
def test_whom_a_name_does_not_fit_is_never_meant(people: dict[str, str], typed: str) -> None:
    try:
        found = find_person(typed, people)
    except NotOnePerson:
        return
    assert people[found].casefold() == typed.casefold() or found.startswith(typed[1:].lower())


@pytest.mark.parametrize(
    ("typed", "person", "text"),
    [
        ("Ana yes", ANA, "yes"),
        ("cleo  yes and no ", CLEO, "yes and no"),
        ("#77aa yes", CLEO, "yes"),
        ("Ben Ox yes", BEN, "yes"),
        ("Ben yes", OTHER_BEN, "yes"),
        ("ana yes", ANA, "yes"),
        ("Ana", ANA, ""),
    ],
)
def test_a_name_before_a_text(typed: str, person: str, text: str) -> None:
    people = PEOPLE | {BEN: "Ben Ox"}
    assert split_person(typed, people) == (person, text)


def test_people_of_one_name_are_listed_with_their_ids() -> None:
    assert list_people(PEOPLE) == "#5b1f, Ana, Ben (#5b1f2c1e-0), Ben (#5b1f2c1e-1), cleo"
    assert list_people({BEN: "Ben", ANA: "Ana"}) == "Ana, Ben"
    assert list_people({}) == ""


def test_members_and_who_wrote_are_known() -> None:
    people = People()
    people.own_id = ANA
    people.set_members([{"userId": ANA, "displayName": "Ana"}, {"userId": BEN, "displayName": "Ben"}])
    people.note_sender(CLEO, "Cleo")
    assert people.others == {BEN: "Ben", CLEO: "Cleo"}
    people.note_sender(BEN, "Ben")
    people.add(BEN, "Benno")
    assert people.others[BEN] == "Benno"
    assert people.remove(BEN) == "Benno"
    assert people.name(BEN) == "Benno", "the person has written, so a ban is still possible"
    people.set_members([])
    assert people.others == {BEN: "Benno", CLEO: "Cleo"}
    assert people.remove(OTHER_BEN) == SOMEBODY


def test_those_who_wrote_are_bounded() -> None:
    people = People()
    for number in range(KNOWN_SENDERS + 10):
        people.note_sender(f"id {number}", "Guest")
        people.note_sender("id 0", "First")
    assert len(people.others) == KNOWN_SENDERS
    assert people.others["id 0"] == "First", "the one who wrote last stays"
