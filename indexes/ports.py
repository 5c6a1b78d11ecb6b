"""What an engine must do, writing and reading apart. Engines speak chunk numbers; only `retrieve` knows ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.document import Chunk
from semantic_layer.predicate import Predicate
from semantic_layer.product import Column

Vectors = NDArray[np.float32]
"""Shape (n, dimension), unit length, float32, C-contiguous."""

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Allowed:
    """The chunk numbers a search may return: sorted, unique, out of `total` chunks.

    `numbers` is an int64 array of shape (m,). Where everything is allowed, readers are handed None instead.
    `where` is the filter that the numbers come from, by dataset: an engine that holds what chunks carry asks it,
    and need not be sent the numbers.
    """

    numbers: Numbers
    total: int
    where: Mapping[str, Predicate] | None = None

    @property
    def selectivity(self) -> float:
        """The allowed share, 0..1."""
        return len(self.numbers) / self.total if self.total else 0.0

    @cached_property
    def bitmap(self) -> NDArray[np.uint8]:
        """One bit a chunk, the lowest first; made once, for engines that look each candidate up."""
        inside = np.zeros(self.total, bool)
        inside[self.numbers] = True
        return np.packbits(inside, bitorder="little")


class QueryVector(Protocol):
    """A question's unit vector of shape (dimension,), and whether the end of the question was cut off.

    `tokens`, where asked for, has shape (tokens, dimension): one unit vector in float16 for each token.
    """

    @property
    def vector(self) -> Vectors: ...

    @property
    def truncated(self) -> bool: ...

    @property
    def tokens(self) -> NDArray[np.float16] | None: ...


class Embedder(Protocol):
    """Turns text into unit vectors with a model that was exported once."""

    @property
    def dimension(self) -> int: ...

    @property
    def languages(self) -> frozenset[str]:
        """The ISO 639-1 codes of the languages the model speaks; empty where it speaks many, or none knows."""
        ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What changes vectors: model sha256, runtime, precision, max tokens, pooling, prefix."""
        ...

    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """One unit vector a text, in the order given. `progress` hears how many more texts are done."""
        ...

    def embed_query(self, text: str, *, with_tokens: bool = False) -> QueryVector:
        """A question's vector. One over the token limit is cut, and says so."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model counts them, special tokens included."""
        ...


@dataclass(frozen=True)
class CarriedRow:
    """What one chunk carries from its row or document, for an engine that filters by it."""

    number: int
    chunk_id: str
    dataset: str
    columns: Mapping[str, Any]


CarriedRows = Callable[[int, int], Sequence[CarriedRow]]
"""The rows of `count` chunks from number `first` on, in number order; all of them were added to the tables."""


class VectorBuilder(Protocol):
    """Builds one generation's vectors into a folder."""

    def add(self, vectors: Vectors) -> None:
        """Append vectors; their chunk numbers follow on from those added before."""
        ...

    def seal(self) -> Mapping[str, Any]:
        """Train, write and flush the files; returns what the manifest records (index, recall, seconds …)."""
        ...


class VectorReader(Protocol):
    """Searches one generation's vectors; opened memory-mapped, never unpickled."""

    @property
    def count(self) -> int: ...

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """The at most `k` nearest by inner product for one query of shape (dimension,), best first.

        Ties by lower number. Never a number outside `allowed`. Returns (numbers (m,), scores (m,)), m ≤ k.
        """
        ...

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """Exact inner products of the query with the stored vectors of `numbers`, in that order."""
        ...

    def close(self) -> None: ...


class TextBuilder(Protocol):
    """Builds one generation's text index into a folder."""

    def add(self, chunks: Iterable[Chunk]) -> None: ...

    def seal(self) -> Mapping[str, Any]: ...


class TextReader(Protocol):
    """BM25 over one generation."""

    @property
    def count(self) -> int: ...

    def search(self, question: str, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """The at most `k` best chunks by BM25, best first, ties by lower number; never outside `allowed`.

        `question` is a person's words, never query syntax; text in double quotes must occur as a phrase.
        """
        ...

    def close(self) -> None: ...


class TableReader(Protocol):
    """The sealed DuckDB tables of one generation, for trusted reads in process (texts, filters, records)."""

    @property
    def count(self) -> int:
        """The number of chunks in all."""
        ...

    def texts(self, numbers: Sequence[int]) -> list[Chunk]:
        """The chunks of these numbers, in the order asked."""
        ...

    def passages(self, numbers: Sequence[int]) -> list[tuple[Chunk, dict[str, Any]]]:
        """The chunks of these numbers with the columns each carries from its row, in the order asked."""
        ...

    def allowed(self, where: Mapping[str, Predicate]) -> Allowed:
        """Chunk numbers whose dataset is a key of `where` and whose columns make its predicate TRUE."""
        ...

    def numbers_of(self, dataset: str, document: str) -> list[int]:
        """The chunk numbers of one document in reading order; empty when there is none."""
        ...

    def number_of(self, chunk_id: str) -> int | None:
        """The number of the chunk with this id; None where there is none."""
        ...

    def rows(
        self,
        dataset: str,
        columns: Sequence[str],
        where: Predicate,
        order: Sequence[str] = (),
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Rows of a dataset's table where the predicate is TRUE."""
        ...

    def close(self) -> None: ...


class RecordReader(Protocol):
    """Live rows or documents by key, under a predicate that is always ANDed."""

    def fetch(
        self,
        columns: Sequence[Column],
        where: Predicate,
        order: Sequence[str],
        limit: int,
        deadline_seconds: float,
    ) -> list[dict[str, Any]]:
        """At most `limit` rows where the predicate is TRUE, ordered. Raises EngineUnavailable by name."""
        ...
