"""Exact vector search in numpy: the oracle that vector engines are tested against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexes.ports import Allowed, Numbers, Scores, Vectors
from indexes.ranking import best_first
from semantic_layer.errors import CorruptGeneration

FILE = "vectors.npy"


class ExactVectorBuilder:
    """Writes `vectors.npy`: float32 of shape (n, dimension)."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._parts = [np.empty((0, dimension), np.float32)]

    def add(self, vectors: Vectors) -> None:
        """See VectorBuilder."""
        self._parts.append(np.ascontiguousarray(vectors, np.float32))

    def seal(self) -> Mapping[str, Any]:
        """Write the file."""
        matrix = np.concatenate(self._parts)
        np.save(self._folder / FILE, matrix, allow_pickle=False)
        return {"engine": "exact", "index": "Flat", "count": len(matrix), "dimension": matrix.shape[1]}


class ExactVectorReader:
    """Scores every allowed vector, whatever it costs."""

    def __init__(self, folder: Path) -> None:
        try:
            self._matrix: Vectors = np.load(folder / FILE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CorruptGeneration(
                f"{folder / FILE} does not open ({error}).", hint="Ingest the product again, or roll back."
            ) from error

    @property
    def count(self) -> int:
        """The number of chunks."""
        return len(self._matrix)

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See VectorReader."""
        numbers = np.arange(self.count) if allowed is None else allowed.numbers
        return best_first(numbers, self.score(query, numbers), k)

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """See VectorReader."""
        return self._matrix[numbers] @ query

    def close(self) -> None:
        """The map goes with the reader."""
