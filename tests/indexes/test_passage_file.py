"""The flat file of passages gives back what was written, and says so where it cannot."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.document import Chunk, sha256_of
from indexes.passage_file import LINES, OFFSETS, PassageFile, PassageFileBuilder
from semantic_layer.errors import CorruptGeneration

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def chunk(number: int, text: str) -> Chunk:
    return Chunk(
        number, f"id{number}", "notes", "a.md", text[:5], text, 0, len(text), sha256_of(text), 3, ("A",), "b"
    )


def written(folder: Path, chunks: list[Chunk]) -> None:
    builder = PassageFileBuilder(folder)
    builder.add(chunks, [json.dumps({"n": one.number}) for one in chunks])
    builder.seal()


@given(texts=st.lists(TEXTS, max_size=12), picks=st.lists(st.integers(0, 11), max_size=6))
def test_every_text_is_read_back_as_it_was_in_the_order_asked(texts: list[str], picks: list[int]) -> None:
    chunks = [chunk(number, text) for number, text in enumerate(texts)]
    asked = [number for number in picks if number < len(chunks)]
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), chunks)
        with closing(PassageFile(Path(folder))) as passages:
            assert passages.count == len(chunks)
            assert passages.read(asked) == [(chunks[number], {"n": number}) for number in asked]


def test_what_was_added_so_far_is_read_back_while_building(tmp_path: Path) -> None:
    chunks = [chunk(number, f"line {number}\nand more") for number in range(7)]
    with closing(PassageFileBuilder(tmp_path)) as builder:
        builder.add(chunks[:5], ["{}"] * 5)
        assert [one for part in builder.stored(2) for one in part] == chunks[:5]
        builder.add(chunks[5:], ["{}"] * 2)
        assert [len(part) for part in builder.stored(3)] == [3, 3, 1]
        with pytest.raises(ValueError, match="go on from 7"):
            builder.add(chunks[:1], ["{}"])


@pytest.mark.parametrize(
    ("name", "content"),
    [(LINES, b"cut"), (OFFSETS, b""), (OFFSETS, b"\x05" * 16), (LINES, None), (OFFSETS, None)],
)
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    written(tmp_path, [chunk(0, "one")])
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptGeneration, match=name):
        PassageFile(tmp_path)


def test_a_number_that_is_not_there_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [chunk(0, "one")])
    with closing(PassageFile(tmp_path)) as passages, pytest.raises(IndexError, match="no passage -1"):
        passages.read([-1])
