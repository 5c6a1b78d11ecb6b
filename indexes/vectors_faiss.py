"""Vector search with FAISS: flat while it is small, then lists of product codes with exact refining, or a graph.

The only home of faiss. Files on disk are always in CPU form, whatever device built them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from indexes.device import Device, Processor, choose_device
from indexes.ports import Allowed, Numbers, Scores, Vectors
from indexes.ranking import settled
from indexes.recall import DEPTH, between, exact_neighbours
from indexes.vector_layout import (
    CERTIFIED_SELECTIVITIES,
    FLAT_BELOW,
    HNSW_CONSTRUCTION,
    HNSW_LINKS,
    RECALL_FLOOR,
    RECALL_WANTED,
    TRAINING_VECTORS_A_LIST,
    Effort,
    Recipe,
    Route,
    route_for,
)
from semantic_layer.engine_settings import VectorIndexName
from semantic_layer.errors import CorruptGeneration, EngineUnavailable

faiss: Any = _faiss
"""FAISS's stubs know neither its factory's classes nor keyword parameters."""

FILE = "index.faiss"
EXACT_ALLOWED = 2_000
"""So few allowed vectors are scored exactly at any selectivity: it takes less than a millisecond."""

GATHERED_SELECTIVITY = 0.03
GATHERED_AT_MOST = 10_000
"""Below that selectivity so many allowed vectors are copied together and scored: looking every vector up in a bitmap
costs more."""

GATHERED_AT_ONCE = 1_000
"""Copied a block after the other into the same megabyte: memory that is new to the process costs more than the scan
(measured: 2,000 vectors at once 2.2 ms, 1,000 of them 0.1 ms)."""

HELD_OUT = 200
SEED = 20_251_122
BLOCK = 65_536
TIE_SLACK, BATCH_SLACK = 8, 1
"""So many more are fetched than asked for, to see equal scores at the cut. In a batch each costs all questions, and the
few that have such a tie are asked again alone."""


GPU_DEEPEST = 2_048
"""FAISS selects no more on a GPU; a deeper search is exact on the CPU."""


def gpu_usable() -> bool:
    """Whether this build of FAISS can use a GPU that is there."""
    return hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0


def gpu_resources() -> Any:
    """FAISS's memory and streams on the GPU, which one thread uses at a time."""
    return faiss.StandardGpuResources()


def copied_to_gpu(resources: Any, index: Any) -> Any:
    """A copy of the index on the GPU."""
    return faiss.index_cpu_to_gpu(resources, 0, index)


def knn_on_gpu(resources: Any, questions: Vectors, vectors: Vectors, k: int) -> tuple[Any, Any]:
    """The k best of these vectors for each question by inner product, on the GPU: scores and places."""
    return faiss.knn_gpu(resources, questions, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


@contextlib.contextmanager
def _failing_on(processor: Processor) -> Generator[None]:
    """What FAISS raises of a GPU, mostly that its memory does not suffice, as EngineUnavailable."""
    try:
        yield
    except RuntimeError as error:
        if processor == "cpu":
            raise
        raise EngineUnavailable(
            f"FAISS failed on the GPU: {str(error).splitlines()[0]}",
            hint="Set WELLHEAD_DEVICE and faiss.serve_on to cpu, or free the GPU's memory.",
        ) from error


def on_device(index: Any, processor: Processor) -> Any:
    """The index on the processor: itself on the CPU, a copy on the GPU."""
    return index if processor == "cpu" else copied_to_gpu(gpu_resources(), index)


class FaissBuilder:
    """Builds an inner-product index of unit vectors. Equal vectors in equal order give an equal index.

    On a GPU the lists' centroids are trained there and vectors assigned to them there, which is most of the work;
    codes are made on the CPU, whose form is stored.
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        *,
        device: Device = "auto",
        layout: VectorIndexName = "auto",
        recall: float = RECALL_FLOOR,
        flat_below: int = FLAT_BELOW,
    ) -> None:
        self._folder = folder
        self._dimension = dimension
        self._processor: Processor = choose_device(device, gpu_usable)
        self._layout: VectorIndexName = layout
        self._floor = recall
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

        Effort is raised until recall reaches RECALL_WANTED and the floor, apart for each certified selectivity. Where
        without a filter it does not even reach the floor, the index is an exact scan; `refused` says what was found.
        """
        self._file.close()
        started = time.monotonic()
        faiss.omp_set_num_threads(os.cpu_count() or 1)  # a search on this thread may have left it at one
        vectors = self._vectors()
        recipe = Recipe.of(self._layout, self._count, self._dimension, self._flat_below)
        index, facts = self._built(recipe, vectors)
        faiss.write_index(index, str(self._folder / FILE))
        del vectors
        self._raw.unlink()
        return {
            "engine": "faiss",
            "version": faiss.__version__,
            "count": self._count,
            "dimension": self._dimension,
            "device": self._processor,
            "seconds": round(time.monotonic() - started, 3),
            **facts,
        }

    def _vectors(self) -> Vectors:
        shape = (self._count, self._dimension)
        return np.memmap(self._raw, np.float32, "r", shape=shape) if self._count else np.empty(shape, np.float32)

    def _built(self, recipe: Recipe, vectors: Vectors) -> tuple[Any, dict[str, Any]]:
        if recipe.layout == "flat":
            index = faiss.IndexFlatIP(self._dimension)
            _add_all(index, vectors)
            return index, {"index": recipe.factory, "recall_at_10": 1.0}
        shuffled = np.random.default_rng(SEED).permutation(self._count)
        held_out, rest = np.sort(shuffled[:HELD_OUT]), shuffled[HELD_OUT:]
        sample = np.ascontiguousarray(vectors[np.sort(rest[: TRAINING_VECTORS_A_LIST * recipe.lists])])
        index = faiss.index_factory(self._dimension, recipe.factory, faiss.METRIC_INNER_PRODUCT)
        if recipe.layout == "hnsw":
            index.hnsw.efConstruction = HNSW_CONSTRUCTION
        with _failing_on(self._processor):
            _train(index, sample, self._processor)
            with _assigning_on(index, self._processor):
                _add_all(index, vectors)
        training = {"seed": SEED, "vectors": len(sample), **_parameters_of(index)}
        certificate = certified(index, recipe, vectors, held_out, rest, self._floor)
        facts: dict[str, Any] = {"index": recipe.factory, "training": training, **certificate}
        if min(facts["recall_at_10"], facts["recall_at_10_of_stored"]) >= self._floor:
            return index, facts
        # These vectors lie in no clusters; what was found of them is kept in the manifest as the reason.
        scan = faiss.index_factory(self._dimension, "SQfp16", faiss.METRIC_INNER_PRODUCT)
        scan.train(sample)
        _add_all(scan, vectors)
        everything = np.ones(self._count, bool)
        [truth] = exact_neighbours(vectors, np.ascontiguousarray(vectors[held_out]), held_out, [everything])
        recall = truth.recall(scan.search(truth.queries, DEPTH + 1 + TIE_SLACK)[1], vectors)
        return scan, {"index": "SQfp16", "recall_at_10": round(recall, 4), "refused": facts}


def _parameters_of(index: Any) -> dict[str, int]:
    """What an index was trained or linked with, besides what its factory string says."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        return {"links": HNSW_LINKS, "construction": int(index.hnsw.efConstruction)}
    return {"lists": int(ivf.nlist), "kmeans_seed": int(ivf.cp.seed), "kmeans_iterations": int(ivf.cp.niter)}


def _train(index: Any, sample: Vectors, processor: Processor) -> None:
    """Train with FAISS's fixed seed; the assignment steps of k-means run on the processor."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None:
        clustering = on_device(faiss.IndexFlatIP(index.d), processor)
        ivf.clustering_index = clustering
    index.train(sample)
    if ivf is not None:
        ivf.clustering_index = None


@contextlib.contextmanager
def _assigning_on(index: Any, processor: Processor) -> Generator[None]:
    """Within the block vectors are assigned to lists on the processor; an index without lists has nothing to assign."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        yield
        return
    own = ivf.quantizer
    other = on_device(faiss.downcast_index(own), processor)
    ivf.quantizer = other
    try:
        yield
    finally:
        ivf.quantizer = own


def _add_all(index: Any, vectors: Vectors) -> None:
    for start in range(0, len(vectors), BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))


def certified(
    index: Any, recipe: Recipe, vectors: Vectors, held_out: Numbers, others: Numbers, floor: float
) -> dict[str, Any]:
    """Recall@10 without a filter and through random ones, of stored vectors and of questions made up between them.

    `routes` holds, for each certified selectivity, the first effort with RECALL_WANTED of both, else the hardest; one
    that does not reach the floor through a filter is left out, and such filters are answered exactly.
    """
    stored = np.ascontiguousarray(vectors[held_out])
    queries = np.concatenate([stored, between(vectors, held_out, others[: len(held_out)])])
    own = np.concatenate([held_out, np.full(len(held_out), -1)])
    random = np.random.default_rng(SEED).random(len(vectors))
    masks = [random < selectivity for selectivity in CERTIFIED_SELECTIVITIES]
    truths = exact_neighbours(vectors, queries, own, masks)
    routes: list[Route] = []
    for selectivity, truth in zip(CERTIFIED_SELECTIVITIES, truths, strict=True):
        inside = None if selectivity == 1 else Allowed(np.flatnonzero(truth.inside), len(vectors))
        selector = _selector(inside)
        route = Route(selectivity, Effort(), 0.0, 0.0)
        for effort in recipe.efforts:
            found = index.search(
                queries, DEPTH + 1 + TIE_SLACK, params=_parameters(index, effort, DEPTH, selector)
            )[1]
            shares = truth.shares(found, vectors)
            of_stored, of_questions = (round(float(part.mean()), 4) for part in np.split(shares, 2))
            route = Route(selectivity, effort, of_questions, of_stored)
            if route.lowest >= max(RECALL_WANTED, floor):
                break
        routes.append(route)
    everywhere, *filtered = routes
    kept = [route for route in filtered if route.lowest >= floor]
    return {
        "recall_at_10": everywhere.recall,
        "recall_at_10_of_stored": everywhere.recall_of_stored,
        "recall_queries": len(queries),
        "filtered_recall_at_10": min((route.lowest for route in kept), default=1.0),
        "routes": [asdict(route) for route in (everywhere, *kept)],
    }


def _parameters(index: Any, effort: Effort, k: int, selector: Any = None) -> Any:
    """FAISS's parameters for the `k` best among what the selector lets through."""
    chosen = {} if selector is None else {"sel": selector}
    if effort.ef:
        return faiss.SearchParametersHNSW(efSearch=max(effort.ef, k), **chosen)
    return faiss.IndexRefineSearchParameters(
        k_factor=max(effort.candidates / k, 2.0),
        base_index_params=faiss.SearchParametersIVF(nprobe=effort.nprobe, **chosen),
    )


def _selector(allowed: Allowed | None) -> Any:
    return None if allowed is None else faiss.IDSelectorBitmap(allowed.bitmap)


class FaissReader:
    """Searches a sealed index through a memory map. Thread-safe; one thread a query.

    `facts` are what the builder's seal returned. Its routes say how a filter is searched through; one that lets
    through less than they were certified for, or at most EXACT_ALLOWED vectors, has those scored exactly. Served on a
    GPU, every search is exact: the vectors lie there, and those that a filter allows are gathered.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], *, device: Device = "cpu") -> None:
        try:
            self._index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise CorruptGeneration(
                f"{folder / FILE} does not open as a FAISS index.", hint="Ingest the product again, or roll back."
            ) from error
        self._stored = _stored_of(self._index)
        self._routes = tuple(Route.from_json(route) for route in facts.get("routes", ()))
        self._gpu = _GpuScan(self._stored) if choose_device(device, gpu_usable) == "gpu" else None

    @property
    def count(self) -> int:
        """The number of chunks."""
        return int(self._index.ntotal)

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See VectorReader."""
        question = np.ascontiguousarray(query, np.float32).reshape(1, -1)
        total = self.count if allowed is None else len(allowed.numbers)
        faiss.omp_set_num_threads(1)

        def fetch(limit: int) -> tuple[Numbers, Scores]:
            scores, numbers = self._nearest(question, limit, allowed)
            real = numbers[0] >= 0
            return numbers[0][real].astype(np.int64), scores[0][real]

        return settled(fetch, k, total)

    def search_many(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """`search` for many queries of shape (q, dimension), on every core; numbers and scores of shape (q, k).

        Where a query has fewer, -1 and -inf stand at its end.
        """
        questions = np.ascontiguousarray(queries, np.float32)
        total = self.count if allowed is None else len(allowed.numbers)
        numbers = np.full((len(questions), k), -1, np.int64)
        scores = np.full((len(questions), k), -np.inf, np.float32)
        limit = min(k + BATCH_SLACK, total)
        if not limit:
            return numbers, scores
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        near, found = _ties_by_number(*self._nearest(questions, limit, allowed))
        width = min(k, limit)
        numbers[:, :width], scores[:, :width] = found[:, :width], near[:, :width]
        unsettled = near[:, width - 1] == near[:, -1] if limit < total else np.zeros(len(near), bool)
        for row in np.flatnonzero(unsettled | (found[:, width - 1] < 0)):
            one, its = self.search(questions[row], k, allowed)
            numbers[row, : len(one)], scores[row, : len(its)] = one, its
        return numbers, scores

    def bare(self, k: int, allowed: Allowed | None = None) -> Callable[[Vectors], tuple[Any, Any]]:
        """FAISS's own search by the same route, made ready once, ties unsettled: what a benchmark compares with."""
        return self._route(k, allowed)[0]

    def _nearest(self, questions: Vectors, limit: int, allowed: Allowed | None) -> tuple[Any, Any]:
        """FAISS's scores and numbers, (q, limit) each, by the route that the filter's selectivity has."""
        search, exact = self._route(limit, allowed)
        scores, numbers = search(questions)
        few = np.flatnonzero((numbers < 0).any(axis=1)) if not exact else ()
        if len(few):
            # What was probed held too few: what is asked for is there, so look everywhere.
            scores[few], numbers[few] = self._scan(limit, allowed)(questions[few])
        return scores, numbers

    def _route(self, limit: int, allowed: Allowed | None) -> tuple[Callable[[Vectors], tuple[Any, Any]], bool]:
        """How the `limit` best are found, and whether that is exact."""
        gpu = self._gpu
        if gpu is not None:
            deep = limit > GPU_DEEPEST
            return self._scan(limit, allowed) if deep else lambda asked: gpu.search(asked, limit, allowed), True
        few = allowed is not None and len(allowed.numbers) <= EXACT_ALLOWED
        route = None if few else route_for(self._routes, 1.0 if allowed is None else allowed.selectivity)
        if route is None:
            return self._scan(limit, allowed), True
        parameters = _parameters(self._index, route.effort, limit, _selector(allowed))
        return lambda questions: self._index.search(questions, limit, params=parameters), False

    def _scan(self, limit: int, allowed: Allowed | None) -> Callable[[Vectors], tuple[Any, Any]]:
        """Score every allowed vector: few of them gathered, many where they lie."""
        if allowed is None:
            return lambda questions: self._stored.search(questions, limit)
        if allowed.selectivity > GATHERED_SELECTIVITY or len(allowed.numbers) > GATHERED_AT_MOST:
            parameters = faiss.SearchParameters(sel=_selector(allowed))
            return lambda questions: self._stored.search(questions, limit, params=parameters)
        parts = np.array_split(allowed.numbers, range(GATHERED_AT_ONCE, len(allowed.numbers), GATHERED_AT_ONCE))
        return lambda questions: _best_of([self._part(part, questions, limit) for part in parts], limit)

    def _part(self, numbers: Numbers, questions: Vectors, limit: int) -> tuple[Any, Any]:
        """FAISS's scores of these vectors copied together, and their numbers."""
        scores, places = _gathered(self._stored, numbers).search(questions, min(limit, len(numbers)))
        return scores, numbers[places]

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """See VectorReader. Above FLAT_BELOW vectors are stored in half precision."""
        if not len(numbers):
            return np.empty(0, np.float32)
        return self._stored.reconstruct_batch(np.ascontiguousarray(numbers, np.int64)) @ query

    def close(self) -> None:
        """The map goes with the reader; FAISS has no close."""


class _GpuScan:
    """Exact search of stored vectors on a GPU, by one thread at a time, as FAISS's resources there demand."""

    def __init__(self, stored: Any) -> None:
        flat = faiss.IndexFlatIP(stored.d)
        for start in range(0, stored.ntotal, BLOCK):
            flat.add(stored.reconstruct_n(start, min(BLOCK, stored.ntotal - start)))
        self._stored = stored
        self._lock = threading.Lock()
        with _failing_on("gpu"):
            self._resources = gpu_resources()
            self._index = copied_to_gpu(self._resources, flat)

    def search(self, questions: Vectors, limit: int, allowed: Allowed | None) -> tuple[Any, Any]:
        """FAISS's scores and numbers; the allowed vectors are gathered and scored there. At most GPU_DEEPEST."""
        if allowed is None:
            with self._lock, _failing_on("gpu"):
                return self._index.search(questions, limit)
        gathered = self._stored.reconstruct_batch(allowed.numbers)
        with self._lock, _failing_on("gpu"):
            scores, places = knn_on_gpu(self._resources, questions, gathered, limit)
        return scores, np.where(places >= 0, allowed.numbers[places], -1)


def _stored_of(index: Any) -> Any:
    """The vectors themselves, which an exact search scores."""
    if isinstance(index, faiss.IndexRefine):
        return faiss.downcast_index(index.refine_index)
    return faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index


def _best_of(parts: Sequence[tuple[Any, Any]], limit: int) -> tuple[Any, Any]:
    """The best of several searches, in FAISS's form: -1 and -inf where there are fewer than the limit."""
    scores = np.concatenate([part[0] for part in parts], axis=1)
    numbers = np.concatenate([part[1] for part in parts], axis=1)
    if len(parts) > 1:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        scores, numbers = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)
    gap = ((0, 0), (0, max(0, limit - scores.shape[1])))
    return np.pad(scores, gap, constant_values=-np.inf), np.pad(numbers, gap, constant_values=-1)


def _ties_by_number(scores: Scores, numbers: Numbers) -> tuple[Scores, Numbers]:
    """FAISS's rows, which are best first, with equal scores by lower number; few rows have any."""
    tied = np.flatnonzero((scores[:, 1:] >= scores[:, :-1]).any(axis=1))
    order = np.lexsort((numbers[tied], -scores[tied]), axis=1)
    scores[tied] = np.take_along_axis(scores[tied], order, 1)
    numbers[tied] = np.take_along_axis(numbers[tied], order, 1)
    return scores, numbers


def _gathered(stored: Any, numbers: Numbers) -> Any:
    """An index of these stored vectors alone, their codes copied as they are."""
    size = stored.code_size
    codes = faiss.rev_swig_ptr(stored.codes.data(), stored.ntotal * size).reshape(-1, size)
    flat = isinstance(stored, faiss.IndexFlat)
    index = (
        faiss.IndexFlatIP(stored.d)
        if flat
        else faiss.IndexScalarQuantizer(stored.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    )
    faiss.copy_array_to_vector(np.ascontiguousarray(codes[numbers]).reshape(-1), index.codes)
    index.ntotal = len(numbers)
    return index
