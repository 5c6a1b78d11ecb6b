"""Chunks fit the model whole, cover the text, keep to their place, and are the same each time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from indexes.document import Chunk, Document, sha256_of
from ingest.chunk import chunk_document
from ingest.parse.pieces import Piece, assemble, markdown_table
from ingest.parse.text import markdown_blocks
from ingest.token_sizes import CountTokens
from semantic_layer.errors import InvalidArgument

LIMIT = 256


def count_bytes(texts: Sequence[str]) -> list[int]:
    """A tokenizer unlike the default one: a token for every two bytes, white space included, and two more."""
    return [2 + (len(text.encode()) + 1) // 2 for text in texts]


def markdown(text: str, title: str = "") -> Document:
    return Document("handbook", "a.md", text, sha256_of(text), title=title, blocks=markdown_blocks(text))


def plain(text: str, title: str = "") -> Document:
    return Document("tickets", "17", text, sha256_of(text), title=title, text_columns=("body",))


def chunked(document: Document, count: CountTokens) -> list[Chunk]:
    return chunk_document(document, "demo", count, LIMIT)


def assert_sound(document: Document, chunks: list[Chunk], count: CountTokens, limit: int = LIMIT) -> None:
    """What holds for any document: true spans, full cover, within the limit, unique ids, in order."""
    covered = bytearray(len(document.text))
    for chunk in chunks:
        span = document.text[chunk.start : chunk.end]
        assert span
        assert span == span.strip()
        assert chunk.text == span or (chunk.text.endswith("\n" + span) and span.startswith("|"))
        assert chunk.sha256 == sha256_of(chunk.text)
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    missed = [i for i, held in enumerate(covered) if not held and not document.text[i].isspace()]
    assert not missed
    assert all(tokens <= limit for tokens in count([chunk.embedded_text for chunk in chunks]))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})
    assert len({chunk.id for chunk in chunks}) == len(chunks)


WORDS = st.sampled_from(
    [
        "boots",
        "returns.",
        "antidisestablishmentarianism",
        "退货政策",
        "返品。",
        "👩‍💻",
        "🇩🇪",
        "x" * 130,
        "a,b;c",
        "é",
        "\n",
        "\n\n",
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=12)), max_size=400).map(" ".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, st.sampled_from(["", "Returns", "A title " * 60, "長い題名" * 100]))
@example(" ".join(f"Sentence number {i} says little." for i in range(600)), "One long paragraph")
@example("x" * 20_000, "One long word")
@example("退货政策适用于所有商品" * 500, "中文")
@example("👩‍💻🇩🇪" * 2_000, "Emoji")
@example("# a\n" * 300 + "text", "Only headings")
@example("\n".join("| a | " + "b " * 300 + "|" if i % 7 == 0 else "| c | d |" for i in range(60)), "Rows")
def test_every_text_is_covered_by_chunks_that_fit(count_tokens: CountTokens, text: str, title: str) -> None:
    for document in (markdown(text, title), plain(text, title)):
        assert_sound(document, chunked(document, count_tokens), count_tokens)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, st.sampled_from([64, 128]))
def test_the_limit_holds_for_a_tokenizer_that_words_predict_badly(text: str, limit: int) -> None:
    document = markdown(text, "A title")
    chunks = chunk_document(document, "demo", count_bytes, limit, target_tokens=48)
    assert_sound(document, chunks, count_bytes, limit)


def test_a_paragraph_of_3000_words_keeps_its_last_sentence(count_tokens: CountTokens) -> None:
    text = " ".join(f"The {i}th of many plain words" for i in range(500)) + ". The heron naps at noon."
    document = plain(text)
    chunks = chunked(document, count_tokens)
    assert_sound(document, chunks, count_tokens)
    assert chunks[-1].text.endswith("The heron naps at noon.")
    assert len(chunks) > 10


def test_a_row_whose_text_fits_is_one_whole_chunk_with_its_column(count_tokens: CountTokens) -> None:
    text = "My order came late.\n\nIt was raining.\n\n" + "Please help me. " * 40
    [chunk] = chunked(plain(text, "Ticket 17"), count_tokens)
    assert chunk.text == text.strip()
    assert chunk.text_column == "body"
    assert chunk.title == "Ticket 17"


def test_chunks_keep_to_their_section_and_know_its_headings(count_tokens: CountTokens) -> None:
    body = "This sentence is about one thing only. " * 8
    document = markdown(f"# Returns\n\n{body}\n\n## Shoes\n\n{body}\n\n## Hats\n\n{body}\n\n# Refunds\n\n{body}")
    chunks = chunked(document, count_tokens)
    assert [chunk.headings for chunk in chunks] == [
        ("Returns",),
        ("Returns", "Shoes"),
        ("Returns", "Hats"),
        ("Refunds",),
    ]
    assert chunks[1].text.startswith("## Shoes")


def test_tiny_sections_are_joined_under_the_headings_they_share(count_tokens: CountTokens) -> None:
    document = markdown("# Hours\n\n## Monday\n\nnine to five\n\n## Tuesday\n\nnine to six\n\n## Sunday\n\nclosed")
    [chunk] = chunked(document, count_tokens)
    assert chunk.headings == ("Hours",)
    assert chunk.text == document.text


def test_a_long_table_repeats_its_header_over_its_rows(count_tokens: CountTokens) -> None:
    rows = [["item", "days"], *([f"item number {i}", str(i)] for i in range(200))]
    text = "Intro.\n\n" + markdown_table(rows)
    document = markdown(text)
    chunks = chunked(document, count_tokens)
    assert_sound(document, chunks, count_tokens)
    assert all("| item | days |\n| --- | --- |\n| item number" in chunk.text for chunk in chunks)
    assert "| item number 199 | 199 |" in chunks[-1].text
    assert document.text[chunks[1].start : chunks[1].end].startswith("| item number")


def test_chunks_keep_to_their_page(count_tokens: CountTokens) -> None:
    parsed = assemble([Piece("paragraph", f"Page {page} has these words.", page) for page in (1, 2, 2, 3)])
    document = Document("d", "a.pdf", parsed.text, "", blocks=parsed.blocks, pages=3)
    chunks = chunked(document, count_tokens)
    assert_sound(document, chunks, count_tokens)
    assert [chunk.page for chunk in chunks] == [1, 2, 3]


def test_a_title_too_long_for_the_model_is_shortened_in_chunks_only(count_tokens: CountTokens) -> None:
    document = plain("The text itself is short.", "An endless title " * 100)
    [chunk] = chunked(document, count_tokens)
    assert chunk.text == document.text
    assert chunk.title.startswith("An endless title")
    assert chunk.title.endswith("…")
    assert count_tokens([chunk.embedded_text])[0] <= LIMIT


def test_the_same_document_gives_the_same_chunks_and_ids_hang_on_content(count_tokens: CountTokens) -> None:
    text = "# A\n\n" + "One sentence follows another one. " * 100
    first, again = chunked(markdown(text), count_tokens), chunked(markdown(text), count_tokens)
    assert first == again
    changed = chunked(markdown(text + "\n\nA new end of more than a few words, for once."), count_tokens)
    assert {chunk.id for chunk in first[:-1]} <= {chunk.id for chunk in changed}


def test_text_of_white_space_has_no_chunks(count_tokens: CountTokens) -> None:
    assert chunked(plain(" \n\t "), count_tokens) == []


def test_limits_too_small_to_hold_anything_are_refused(count_tokens: CountTokens) -> None:
    with pytest.raises(InvalidArgument, match="too small"):
        chunk_document(plain("text"), "demo", count_tokens, 8)


@pytest.mark.truth
def test_abstracts_of_a_real_collection_are_covered_and_fit(count_tokens: CountTokens) -> None:
    corpus = Path(__file__).parents[2].parent / "shared" / "truth" / "retrieval" / "cranfield" / "corpus.jsonl"
    if not corpus.is_file():
        pytest.skip("no truth folder beside the project")
    for line in corpus.read_text(encoding="utf-8").splitlines()[:300]:
        row = json.loads(line)
        document = Document("abstracts", row["_id"], row["text"], "", title=row["title"])
        assert_sound(document, chunked(document, count_tokens), count_tokens)
