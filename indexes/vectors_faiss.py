"""Vector search with FAISS: flat while it is small, then IVF with product quantizing and exact refining.

The only home of faiss. Files on disk are always in CPU form, whatever device trained them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from indexes.ports import Allowed, Numbers, Scores, Vectors
from indexes.ranking import settled
from indexes.recall import exact_neighbours, recall_of
from semantic_layer.errors import CorruptGeneration, EngineUnavailable

faiss: Any = _faiss
"""FAISS's stubs know neither its factory's classes nor keyword parameters."""

Device = Literal["auto", "cpu", "gpu"]

Mask = NDArray[np.bool_]
"""Which chunk numbers are allowed: True at theirs, of length n."""

FILE = "index.faiss"
FLAT_BELOW = 50_000
EXACT_SELECTIVITY = 0.05
EXACT_ALLOWED = 10_000
RECALL_WANTED = 0.98
RECALL_FLOOR = 0.95
"""Questions lie further from passages than passages from each other: measured, .9995 of these is .985 of those."""
TRAINING_VECTORS_A_LIST = 50
HELD_OUT = 200
SEED = 20_251_122
BLOCK = 65_536


def device_for(setting: Device) -> Literal["cpu", "gpu"]:
    """Where an index is trained: `auto` takes a GPU that is there.

    Raises EngineUnavailable where a GPU was asked for and none answers.
    """
    there = setting != "cpu" and hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0
    if setting == "gpu" and not there:
        raise EngineUnavailable(
            "device 'gpu' was asked for and FAISS finds no GPU.",
            hint="Set the device to auto or cpu, or install faiss-gpu and its driver.",
        )
    return "gpu" if there else "cpu"


@dataclass(frozen=True)
class Effort:
    """How hard a search looks: lists probed, and candidates that are scored again exactly."""

    nprobe: int
    candidates: int

    def parameters(self, k: int, inside: Mask | None) -> Any:
        """FAISS's parameters for the `k` best among `inside`."""
        chosen = {} if inside is None else {"sel": _selector(inside)}
        return faiss.IndexRefineSearchParameters(
            k_factor=max(self.candidates / k, 2.0),
            base_index_params=faiss.SearchParametersIVF(nprobe=self.nprobe, **chosen),
        )


EFFORTS = tuple(
    Effort(nprobe, candidates) for nprobe, candidates in ((16, 1000), (32, 1000), (64, 2000), (128, 4000))
)
"""Tried in turn until recall suffices; past them an exact scan of half-precision vectors is no slower."""


@dataclass(frozen=True)
class Recipe:
    """How an IVF index of `count` vectors is laid out."""

    count: int
    dimension: int

    @property
    def lists(self) -> int:
        """Three times the square root: the middle of the measured range of 2–4."""
        return int(3 * self.count**0.5)

    @property
    def factory(self) -> str:
        """FAISS's index factory string; four dimensions a quantizer where they divide, else 8-bit scalars."""
        part = next((size for size in (4, 3, 2, 5) if self.dimension % size == 0), 0)
        codes = f"PQ{self.dimension // part}x4fs" if part else "SQ8"
        return f"IVF{self.lists},{codes},Refine(SQfp16)"


class FaissBuilder:
    """Builds an inner-product index of unit vectors. Equal vectors in equal order give an equal index."""

    def __init__(
        self, folder: Path, dimension: int, *, device: Device = "auto", flat_below: int = FLAT_BELOW
    ) -> None:
        self._folder = folder
        self._dimension = dimension
        self._device = device_for(device)
        self._flat_below = flat_below
        self._raw = folder / "vectors.raw"
        self._file = self._raw.open("wb")
        self._count = 0

    def add(self, vectors: Vectors) -> None:
        """See VectorBuilder."""
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise ValueError(f"vectors of shape {vectors.shape} in an index of dimension {self._dimension}")
        self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        self._count += len(vectors)

    def seal(self) -> Mapping[str, Any]:
        """Train, write, and measure recall@10 against exact search; see VectorBuilder.

        Effort is raised until recall reaches RECALL_WANTED, apart for searches through a filter; where it does not
        even reach RECALL_FLOOR, the index is an exact scan.
        """
        self._file.close()
        started = time.monotonic()
        faiss.omp_set_num_threads(os.cpu_count() or 1)  # a search on this thread may have left it at one
        vectors = self._vectors()
        if self._count < self._flat_below:
            index, facts = self._flat(vectors), {"index": "Flat", "recall_at_10": 1.0}
        else:
            index, facts = self._ivf(vectors)
        faiss.write_index(index, str(self._folder / FILE))
        del vectors
        self._raw.unlink()
        return {
            "engine": "faiss",
            "version": faiss.__version__,
            "count": self._count,
            "dimension": self._dimension,
            "device": self._device,
            "seconds": round(time.monotonic() - started, 3),
            **facts,
        }

    def _vectors(self) -> Vectors:
        shape = (self._count, self._dimension)
        return np.memmap(self._raw, np.float32, "r", shape=shape) if self._count else np.empty(shape, np.float32)

    def _flat(self, vectors: Vectors) -> Any:
        index = faiss.IndexFlatIP(self._dimension)
        _add_all(index, vectors)
        return index

    def _ivf(self, vectors: Vectors) -> tuple[Any, dict[str, Any]]:
        recipe = Recipe(self._count, self._dimension)
        index = faiss.index_factory(self._dimension, recipe.factory, faiss.METRIC_INNER_PRODUCT)
        shuffled = np.random.default_rng(SEED).permutation(self._count)
        held_out = np.sort(shuffled[:HELD_OUT])
        sample = np.sort(shuffled[HELD_OUT:][: TRAINING_VECTORS_A_LIST * recipe.lists])
        self._train(index, np.ascontiguousarray(vectors[sample]))
        _add_all(index, vectors)
        facts = _certified(index, vectors, held_out)
        if min(facts["recall_at_10"], facts["filtered_recall_at_10"]) >= RECALL_FLOOR:
            return index, {"index": recipe.factory, **facts}
        # These vectors lie in no clusters; what IVF found of them is kept in the manifest as the reason.
        scan = faiss.index_factory(self._dimension, "SQfp16", faiss.METRIC_INNER_PRODUCT)
        scan.train(np.ascontiguousarray(vectors[sample]))
        _add_all(scan, vectors)
        queries = np.ascontiguousarray(vectors[held_out])
        truth = exact_neighbours(vectors, queries, held_out, np.ones(self._count, bool))
        recall = recall_of(scan.search(queries, 11)[1], truth, held_out)
        refused = {"index": recipe.factory, **facts}
        return scan, {"index": "SQfp16", "recall_at_10": round(recall, 4), "refused": refused}

    def _train(self, index: Any, sample: Vectors) -> None:
        """Train with FAISS's fixed seed; on a GPU the assignment steps of k-means run there."""
        if self._device == "cpu":
            index.train(sample)
            return
        resources = faiss.StandardGpuResources()
        on_gpu = faiss.index_cpu_to_gpu(resources, 0, faiss.IndexFlatIP(self._dimension))
        ivf = faiss.extract_index_ivf(index)
        ivf.clustering_index = on_gpu
        index.train(sample)
        ivf.clustering_index = None


def _add_all(index: Any, vectors: Vectors) -> None:
    for start in range(0, len(vectors), BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))


def _certified(index: Any, vectors: Vectors, held_out: Numbers) -> dict[str, Any]:
    """Recall@10 of held-out stored vectors, themselves left out, without a filter and through one of 10 %."""
    everything = np.ones(len(vectors), bool)
    tenth = np.random.default_rng(SEED).random(len(vectors)) < 0.1
    effort, recall = _sufficient(index, vectors, held_out, everything)
    filtered, filtered_recall = _sufficient(index, vectors, held_out, tenth)
    return {
        "effort": asdict(effort),
        "recall_at_10": round(recall, 4),
        "filtered_effort": asdict(filtered),
        "filtered_recall_at_10": round(filtered_recall, 4),
        "recall_queries": len(held_out),
    }


def _sufficient(index: Any, vectors: Vectors, held_out: Numbers, inside: Mask) -> tuple[Effort, float]:
    """The first of EFFORTS with the recall wanted, else the last; and its recall."""
    queries = np.ascontiguousarray(vectors[held_out])
    truth = exact_neighbours(vectors, queries, held_out, inside)
    mask = None if inside.all() else inside
    effort, recall = EFFORTS[-1], 0.0
    for effort in EFFORTS:
        found = index.search(queries, 11, params=effort.parameters(11, mask))[1]
        recall = recall_of(found, truth, held_out)
        if recall >= RECALL_WANTED:
            break
    return effort, recall


def _selector(inside: Mask) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(inside, bitorder="little"))


class FaissReader:
    """Searches a sealed index through a memory map. Thread-safe; one thread a query.

    `facts` are what the builder's seal returned. Through a filter of at most EXACT_SELECTIVITY of the chunks,
    or EXACT_ALLOWED of them, the allowed vectors are scored exactly: an approximate search loses recall there.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        try:
            self._index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise CorruptGeneration(
                f"{folder / FILE} does not open as a FAISS index.", hint="Ingest the product again, or roll back."
            ) from error
        self._refined = isinstance(self._index, faiss.IndexRefine)
        self._stored = faiss.downcast_index(self._index.refine_index) if self._refined else self._index
        self._effort = Effort(**facts.get("effort", asdict(EFFORTS[-1])))
        self._filtered_effort = Effort(**facts.get("filtered_effort", asdict(EFFORTS[-1])))

    @property
    def count(self) -> int:
        """The number of chunks."""
        return int(self._index.ntotal)

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See VectorReader."""
        question = np.ascontiguousarray(query, np.float32).reshape(1, -1)
        if allowed is None:
            return settled(lambda limit: self._everywhere(question, limit), k, self.count)
        return settled(lambda limit: self._inside(question, limit, allowed), k, len(allowed.numbers))

    def _everywhere(self, question: Vectors, limit: int) -> tuple[Numbers, Scores]:
        if not self._refined:
            return self._exactly(question, limit, None)
        return self._approximately(question, limit, self._effort, None)

    def _inside(self, question: Vectors, limit: int, allowed: Allowed) -> tuple[Numbers, Scores]:
        inside = np.zeros(self.count, bool)
        inside[allowed.numbers] = True
        few = allowed.selectivity <= EXACT_SELECTIVITY or len(allowed.numbers) <= EXACT_ALLOWED
        if few or not self._refined:
            return self._exactly(question, limit, inside)
        return self._approximately(question, limit, self._filtered_effort, inside)

    def _approximately(
        self, question: Vectors, limit: int, effort: Effort, inside: Mask | None
    ) -> tuple[Numbers, Scores]:
        faiss.omp_set_num_threads(1)
        numbers, scores = _found(self._index.search(question, limit, params=effort.parameters(limit, inside)))
        # The lists probed held too few: what is asked for is there, so look everywhere.
        return (numbers, scores) if len(numbers) == limit else self._exactly(question, limit, inside)

    def _exactly(self, question: Vectors, limit: int, inside: Mask | None) -> tuple[Numbers, Scores]:
        faiss.omp_set_num_threads(1)
        parameters = None if inside is None else faiss.SearchParameters(sel=_selector(inside))
        return _found(self._stored.search(question, limit, params=parameters))

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """See VectorReader. Above FLAT_BELOW vectors are stored in half precision."""
        if not len(numbers):
            return np.empty(0, np.float32)
        return self._stored.reconstruct_batch(np.ascontiguousarray(numbers, np.int64)) @ query

    def close(self) -> None:
        """The map goes with the reader; FAISS has no close."""


def _found(result: tuple[Any, Any]) -> tuple[Numbers, Scores]:
    """One query's numbers and scores; FAISS fills what it did not find with -1."""
    scores, numbers = result[0][0], result[1][0]
    real = numbers >= 0
    return numbers[real].astype(np.int64), scores[real]
