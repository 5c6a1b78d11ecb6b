"""What benchmarks are made of: seeded English that every machine has, and vectors that lie as real ones do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from indexes.ports import Vectors

SECTION_WORDS = 130
"""About 160 tokens: a section of a document that becomes one chunk."""
SECTIONS_A_DOCUMENT = 5
REVISION = "This paragraph was revised after the last review."


def english_texts(rng: np.random.Generator, count: int, words: int) -> list[str]:
    """Different texts of so many words from what every Python brings: the English of its own reference.

    Each is two passages from random places: with one, every second of 100,000 would stand there twice.
    """
    known = [word for name in sorted(topics) for word in re.findall("[A-Za-z]+", topics[name])]
    half = words // 2
    firsts = rng.integers(0, len(known) - half, count).tolist()
    seconds = rng.integers(0, len(known) - words + half, count).tolist()
    return [
        " ".join([*known[first : first + half], *known[second : second + words - half]])
        for first, second in zip(firsts, seconds, strict=True)
    ]


def english_sections(rng: np.random.Generator, count: int) -> list[str]:
    """Paragraphs of SECTION_WORDS words in sentences of 8 to 20."""
    return [" ".join(_sentences(rng, text.split())) for text in english_texts(rng, count, SECTION_WORDS)]


def corpus_sections(folder: Path, count: int) -> list[str]:
    """The first `count` texts of a collection in BEIR's form; fewer where it has no more."""
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        texts = [str(json.loads(line)["text"]).strip() for line in lines]
    return [text for text in texts if text][:count]


def documents(sections: Sequence[str]) -> dict[str, str]:
    """Markdown by file name: a title and SECTIONS_A_DOCUMENT sections, each under its heading."""
    starts = range(0, len(sections), SECTIONS_A_DOCUMENT)
    return {
        f"document-{number:05d}.md": _markdown(number, sections[start : start + SECTIONS_A_DOCUMENT])
        for number, start in enumerate(starts)
    }


def revised(found: dict[str, str], share: float) -> dict[str, str]:
    """This share of the documents, at least one, evenly spread, with a sentence more in every section."""
    names = sorted(found)
    wanted = max(1, round(len(names) * share))
    chosen = [names[number * len(names) // wanted] for number in range(wanted)]
    return {name: re.sub(r"(?m)^([^#\n].*)$", rf"\1 {REVISION}", found[name]) for name in chosen}


def near_vectors(rng: np.random.Generator, real: Vectors, count: int) -> Vectors:
    """`count` unit vectors between real ones and their neighbours: clustered as real ones are."""
    neighbours = np.argsort(-(real @ real.T), axis=1)[:, 1:9]
    of = rng.integers(0, len(real), count)
    other = neighbours[of, rng.integers(0, neighbours.shape[1], count)]
    share = rng.random((count, 1)).astype(np.float32)
    noise = rng.standard_normal((count, real.shape[1])).astype(np.float32) / np.float32(real.shape[1] ** 0.5)
    vectors = real[of] * (1 - share) + real[other] * share + np.float32(0.35) * noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _markdown(number: int, sections: Sequence[str]) -> str:
    parts = [f"# Document {number}"]
    for place, section in enumerate(sections, 1):
        parts += [f"## Section {place}", section]
    return "\n\n".join(parts) + "\n"


def _sentences(rng: np.random.Generator, words: Sequence[str]) -> Iterator[str]:
    start = 0
    while start < len(words):
        length = int(rng.integers(8, 21))
        yield " ".join(words[start : start + length]).capitalize() + "."
        start += length
