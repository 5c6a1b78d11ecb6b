"""Cursors: opaque, signed, and good only for the caller, question and data they were made for."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.cursor import CursorSigner, Question
from mcp_server.keys import cursor_keys
from semantic_layer.errors import InvalidArgument
from semantic_layer.principal import Principal

ALICE = Principal("alice", frozenset({"analyst"}), {"regions": ("EU",)})
ASKED = Question(ALICE, "search", {"question": "shoes", "limit": 10}, {"handbook": "g1"})


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> CursorSigner:
    return CursorSigner(cursor_keys(tmp_path_factory.mktemp("home")), 3_600)


def test_a_cursor_leads_to_the_page_it_was_made_for(signer: CursorSigner) -> None:
    assert signer.read(signer.write(ASKED, 20), ASKED) == 20


def test_the_cursor_itself_is_no_part_of_the_question(signer: CursorSigner) -> None:
    cursor = signer.write(ASKED, 20)
    again = replace(ASKED, arguments={**ASKED.arguments, "cursor": cursor})
    assert signer.read(cursor, again) == 20


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, principal=replace(ALICE, subject="bob")),
        replace(ASKED, principal=replace(ALICE, attributes={"regions": ("EU", "US")})),
        replace(ASKED, principal=replace(ALICE, roles=frozenset({"admin"}))),
        replace(ASKED, tool="lookup"),
        replace(ASKED, arguments={"question": "boots", "limit": 10}),
    ],
    ids=["another subject", "other attributes", "other roles", "another tool", "another question"],
)
def test_a_cursor_of_another_caller_or_question_is_an_error(signer: CursorSigner, other: Question) -> None:
    with pytest.raises(InvalidArgument, match="does not belong"):
        signer.read(signer.write(ASKED, 20), other)


def test_a_cursor_over_data_that_is_no_longer_live_has_expired(signer: CursorSigner) -> None:
    with pytest.raises(InvalidArgument, match="expired"):
        signer.read(signer.write(ASKED, 20), replace(ASKED, generations={"handbook": "g2"}))


def test_an_old_cursor_has_expired(tmp_path: Path) -> None:
    signer = CursorSigner(cursor_keys(tmp_path), -1)
    with pytest.raises(InvalidArgument, match="expired"):
        signer.read(signer.write(ASKED, 20), ASKED)


@given(place=st.integers(0, 10_000), char=st.sampled_from("ABCxyz019-_.=é\x00"))
def test_an_edited_cursor_is_an_error_and_never_another_page(signer: CursorSigner, place: int, char: str) -> None:
    cursor = signer.write(ASKED, 20)
    place %= len(cursor)
    edited = cursor[:place] + char + cursor[place + 1 :]
    with contextlib.suppress(InvalidArgument):
        assert signer.read(edited, ASKED) == 20


@given(st.text(max_size=2_000))
def test_any_other_text_is_an_error(signer: CursorSigner, text: str) -> None:
    with pytest.raises(InvalidArgument):
        signer.read(text, ASKED)
