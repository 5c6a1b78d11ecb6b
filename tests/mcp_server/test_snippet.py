"""What a search shows of a long passage: the part that the question is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.snippet import ELLIPSIS, Snippets

LEAD = "Our house has existed since 1974 and takes pride in what it does. Many departments have a part in it. "
RULES = "Gift cards are never taken back. Shoes with traces of the street are. "
RETURNS = "# Returns\n\n" + LEAD * 4 + RULES + LEAD * 4


def snippet(text: str, question: str, characters: int) -> str:
    return Snippets(question).of(text, characters)


def test_a_long_passage_is_shown_where_the_question_is_answered() -> None:
    shown = snippet(RETURNS, "are gift cards ever taken back?", 120)
    assert shown.startswith("…Gift cards are never taken back. Shoes with")
    assert shown.endswith(ELLIPSIS)
    assert len(shown) <= 120


def test_what_stands_at_the_end_is_shown_with_as_much_before_it_as_there_is_room_for() -> None:
    shown = snippet(LEAD * 4 + RULES, "gift cards", 170)
    assert shown == f"…Many departments have a part in it. {RULES}".rstrip()


def test_a_word_is_found_in_its_other_endings() -> None:
    assert "Gift cards" in snippet(RETURNS, "the gifted card", 100)


def test_a_quoted_phrase_is_shown_though_its_words_stand_elsewhere_too() -> None:
    text = "Street, traces and shoes. " * 20 + "The traces of the street count. " + "Nothing more is said. " * 20
    assert "traces of the street" in snippet(text, '"traces of the street"', 120)


@pytest.mark.parametrize("question", ["pride in 1974", "something else entirely", "?!"])
def test_the_beginning_is_shown_where_no_other_part_holds_more(question: str) -> None:
    assert snippet(RETURNS, question, 200).startswith("# Returns\n\nOur house")


def test_a_text_without_spaces_is_shown_around_its_characters() -> None:
    text = (
        "当社は一九七四年に創業しました。" * 30
        + "贈答券は返品できません。"
        + "皆様のご来店をお待ちしております。" * 30
    )
    assert "贈答券は返品" in snippet(text, "贈答券は返品できますか", 100)


def test_a_short_passage_is_shown_as_it_is() -> None:
    assert snippet("  A line.\n", "line", 100) == "  A line.\n"


WORDS = st.lists(
    st.sampled_from(
        ["gift", "cards", "return", "shoes", "street", "Ärger", "ﬁnal", "İstanbul", "返品", "https://a.b"]
    )
)


@given(words=WORDS, question=WORDS, between=st.sampled_from((" ", "\n", ". ", "")), characters=st.integers(20, 90))
def test_what_is_shown_is_always_a_part_of_the_text_within_the_limit(
    words: list[str], question: list[str], between: str, characters: int
) -> None:
    text = between.join(words * 4)
    shown = snippet(text, " ".join(question), characters)
    assert len(shown) <= characters or shown == text
    assert shown.removeprefix(ELLIPSIS).removesuffix(ELLIPSIS) in text
    assert shown == snippet(text, " ".join(question), characters)
