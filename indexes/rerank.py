"""Reranking without a second model: MaxSim over the embedder's own token vectors (Khattab & Zaharia, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.ports import Numbers, Scores
from semantic_layer.errors import CorruptGeneration

VECTORS = "tokens.f16"
OFFSETS = "token_offsets.npy"

TokenVectors = NDArray[np.float16]
"""Shape (tokens, dimension), unit length."""


class TokenVectorBuilder:
    """Writes the token vectors of chunks in number order; a chunk may have none."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._file = (folder / VECTORS).open("wb")
        self._ends = [0]

    def add(self, vectors: Sequence[TokenVectors | None]) -> None:
        """Append one array, or None, a chunk."""
        for one in vectors:
            if one is not None and one.shape[1:] != (self._dimension,):
                raise ValueError(f"token vectors of shape {one.shape} in a store of dimension {self._dimension}")
            if one is not None:
                self._file.write(np.ascontiguousarray(one, np.float16).data)
            self._ends.append(self._ends[-1] + (0 if one is None else len(one)))

    def seal(self) -> Mapping[str, Any]:
        """Write the offsets; returns what the manifest records."""
        self._file.close()
        np.save(self._folder / OFFSETS, np.array(self._ends, np.int64), allow_pickle=False)
        return {"tokens": self._ends[-1], "dimension": self._dimension, "count": len(self._ends) - 1}


class TokenVectorReader:
    """Token vectors of one generation through a memory map."""

    def __init__(self, folder: Path, dimension: int) -> None:
        try:
            self._offsets: Numbers = np.load(folder / OFFSETS, allow_pickle=False)
            shape = (int(self._offsets[-1]), dimension)
            self._vectors: NDArray[np.float16] = (
                np.memmap(folder / VECTORS, np.float16, "r", shape=shape)
                if shape[0]
                else np.empty(shape, np.float16)
            )
        except (OSError, ValueError) as error:
            raise CorruptGeneration(
                f"the token vectors in {folder} do not open ({error}).",
                hint="Ingest the product again, or roll back.",
            ) from error

    def maxsim(self, question: TokenVectors, numbers: Numbers) -> Scores:
        """For each chunk the mean, over the question's tokens, of the nearest of its own tokens; NaN without any.

        `question` has shape (tokens, dimension). Scores lie in -1..1.
        """
        scores = np.full(len(numbers), np.nan, np.float32)
        starts, ends = self._offsets[numbers], self._offsets[numbers + 1]
        holding = np.flatnonzero(ends > starts)
        if not len(holding) or not len(question):
            return scores
        spans = [self._vectors[starts[place] : ends[place]] for place in holding]
        # One product over all candidates' tokens: fifty small ones cost more to hand out than to compute.
        near = np.concatenate(spans).astype(np.float32) @ question.astype(np.float32).T
        first_rows = np.cumsum([0, *(len(span) for span in spans[:-1])])
        scores[holding] = np.maximum.reduceat(near, first_rows, axis=0).mean(axis=1)
        return scores
