"""Canaries are found in every form, each once, and never printed."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from evanesce.audit import canaries as module
from evanesce.audit.canaries import ENCODINGS, Canaries, Kind


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_found_in_each_encoding(kind: Kind, encoding: str) -> None:
    canaries = Canaries()
    data = f"a letter {canaries.text(kind)}, and on".encode(encoding)
    assert canaries.search(data) == {kind: 1}
    assert canaries.search_stream(io.BytesIO(data).read) == {kind: 1}


def test_those_of_another_audit_are_not_found() -> None:
    assert Canaries().search(Canaries().text(Kind.SENT).encode()) == {}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_that_lies_across_two_pieces_is_found_once(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    canaries = Canaries()
    monkeypatch.setattr(module, "CHUNK", 256)
    written = canaries.text(Kind.SENT).encode(encoding)
    for before in range(1, 300):
        data = bytes(before) + written + bytes(40) + written
        assert canaries.search_stream(io.BytesIO(data).read) == {Kind.SENT: 2}, before


def test_one_that_is_cut_off_is_not_counted() -> None:
    canaries = Canaries()
    written = canaries.text(Kind.SENT).encode()
    assert canaries.search(written[:-1]) == {}
    assert canaries.search_stream(io.BytesIO(written[:-1]).read) == {}


def test_kinds_are_counted_apart() -> None:
    canaries = Canaries()
    data = b" ".join(canaries.text(kind).encode() for kind in (Kind.SENT, Kind.NAME, Kind.SENT))
    assert canaries.search(data) == Counter({Kind.SENT: 2, Kind.NAME: 1})


def test_no_canary_is_shown() -> None:
    canaries = Canaries()
    text = canaries.text(Kind.MAIL)
    assert text not in repr(canaries)
    shown = canaries.masked(f"/tmp/{text}.log")
    assert text not in shown
    assert shown.startswith("/tmp/(canary)")
