"""Every vector engine promises the same; the exact one is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexes import vectors_faiss
from indexes.ports import Allowed, VectorReader, Vectors
from indexes.vectors_exact import ExactVectorBuilder, ExactVectorReader
from indexes.vectors_faiss import Effort, FaissBuilder, FaissReader, Recipe, device_for
from semantic_layer.errors import CorruptGeneration, EngineUnavailable

DIMENSION = 48
COUNT = 6_000


def clustered(count: int, seed: int = 7) -> Vectors:
    """Unit vectors around 60 centres, as embeddings of related texts lie."""
    centres = np.random.default_rng(0).standard_normal((60, DIMENSION))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 60, count)] + 0.6 * rng.standard_normal((count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(COUNT)


def exact(folder: Path, vectors: Vectors) -> VectorReader:
    builder = ExactVectorBuilder(folder, vectors.shape[1])
    for start in range(0, len(vectors), 1000):
        builder.add(vectors[start : start + 1000])
    builder.seal()
    return ExactVectorReader(folder)


def faiss_of(flat_below: int) -> Callable[[Path, Vectors], VectorReader]:
    def build(folder: Path, vectors: Vectors) -> VectorReader:
        builder = FaissBuilder(folder, vectors.shape[1], device="cpu", flat_below=flat_below)
        for start in range(0, len(vectors), 1000):
            builder.add(vectors[start : start + 1000])
        return FaissReader(folder, builder.seal())

    return build


ENGINES = {"exact": exact, "flat": faiss_of(10**9), "ivf": faiss_of(1_000)}


@pytest.fixture(scope="module", params=ENGINES)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VectorReader:
    return ENGINES[request.param](tmp_path_factory.mktemp(request.param), VECTORS)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> VectorReader:
    return exact(tmp_path_factory.mktemp("oracle"), VECTORS)


def some_allowed(share: float, seed: int = 1) -> Allowed:
    rng = np.random.default_rng(seed)
    return Allowed(np.flatnonzero(rng.random(COUNT) < share).astype(np.int64), COUNT)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return len(set(found.tolist()) & set(true.tolist())) / len(true)


def test_the_nearest_vectors_come_first(reader: VectorReader, oracle: VectorReader) -> None:
    recalls: list[float] = []
    for query in clustered(50, seed=8):
        numbers, scores = reader.search(query, 10)
        assert len(numbers) == 10
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, VECTORS[numbers] @ query, atol=2e-3)
        recalls.append(recall(numbers, oracle.search(query, 10)[0]))
    assert np.mean(recalls) >= 0.95


@pytest.mark.parametrize("share", [0.9, 0.3, 0.04, 0.002])
def test_a_filter_is_obeyed_and_loses_no_recall(reader: VectorReader, oracle: VectorReader, share: float) -> None:
    allowed = some_allowed(share)
    recalls: list[float] = []
    for query in clustered(30, seed=9):
        numbers, _ = reader.search(query, 10, allowed)
        assert np.isin(numbers, allowed.numbers).all()
        assert len(numbers) == min(10, len(allowed.numbers))
        recalls.append(recall(numbers, oracle.search(query, 10, allowed)[0]))
    assert np.mean(recalls) >= 0.95


def test_never_fewer_than_there_are(reader: VectorReader) -> None:
    allowed = some_allowed(0.5)
    assert len(reader.search(VECTORS[0], COUNT + 5)[0]) == COUNT
    assert len(reader.search(VECTORS[0], COUNT, allowed)[0]) == len(allowed.numbers)
    assert len(reader.search(VECTORS[0], 5, Allowed(np.empty(0, np.int64), COUNT))[0]) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_scores_come_by_lower_number_also_at_the_cut(engine: str, tmp_path: Path) -> None:
    vectors = clustered(2_000)
    vectors[500:700] = vectors[3]
    reader = ENGINES[engine](tmp_path, vectors)
    numbers, _ = reader.search(vectors[3], 20)
    assert numbers.tolist() == [3, *range(500, 519)]


def test_scores_of_chosen_numbers_come_in_their_order(reader: VectorReader) -> None:
    numbers = np.array([5, 0, 5999, 5], np.int64)
    query = clustered(1, seed=10)[0]
    np.testing.assert_allclose(reader.score(query, numbers), VECTORS[numbers] @ query, atol=2e-3)
    assert len(reader.score(query, np.empty(0, np.int64))) == 0


def test_recall_is_certified_against_exact_search_with_and_without_a_filter(tmp_path: Path) -> None:
    builder = FaissBuilder(tmp_path, DIMENSION, device="cpu", flat_below=1_000)
    builder.add(VECTORS)
    facts = builder.seal()
    assert facts["index"] == "IVF232,PQ12x4fs,Refine(SQfp16)"
    assert facts["recall_at_10"] >= 0.95
    assert facts["filtered_recall_at_10"] >= 0.95
    assert facts["count"] == COUNT
    assert [path.name for path in tmp_path.iterdir()] == ["index.faiss"]


def test_vectors_that_approximate_search_does_not_find_are_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_faiss, "EFFORTS", (Effort(1, 12),))
    vectors = np.random.default_rng(2).standard_normal((3_000, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    builder = FaissBuilder(tmp_path, DIMENSION, device="cpu", flat_below=1_000)
    builder.add(vectors)
    facts = builder.seal()
    assert facts["index"] == "SQfp16"
    assert facts["recall_at_10"] >= 0.95 > facts["refused"]["recall_at_10"]
    numbers, _ = FaissReader(tmp_path, facts).search(vectors[5], 10, Allowed(np.arange(0, 3_000, 3), 3_000))
    assert (numbers % 3 == 0).all()


def test_the_same_vectors_make_the_same_index(tmp_path: Path) -> None:
    files: list[bytes] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        faiss_of(1_000)(tmp_path / name, VECTORS)
        files.append((tmp_path / name / "index.faiss").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("dimension", "codes"),
    [(384, "PQ96x4fs"), (768, "PQ192x4fs"), (49, "SQ8"), (50, "PQ25x4fs"), (75, "PQ25x4fs")],
)
def test_any_dimension_has_a_layout(dimension: int, codes: str) -> None:
    assert Recipe(100_000, dimension).factory == f"IVF948,{codes},Refine(SQfp16)"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_index_finds_nothing(engine: str, tmp_path: Path) -> None:
    reader = ENGINES[engine](tmp_path, np.empty((0, DIMENSION), np.float32))
    assert reader.count == 0
    assert len(reader.search(VECTORS[0], 5)[0]) == 0


@pytest.mark.parametrize("engine", ["exact", "flat", "ivf"])
def test_a_damaged_file_is_named(engine: str, tmp_path: Path) -> None:
    ENGINES[engine](tmp_path, VECTORS[:1500])
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"not an index")
    with pytest.raises(CorruptGeneration, match=file.name):
        ExactVectorReader(tmp_path) if engine == "exact" else FaissReader(tmp_path, {})


def test_a_gpu_that_is_asked_for_and_absent_is_an_error() -> None:
    assert device_for("cpu") == "cpu"
    if device_for("auto") == "cpu":
        with pytest.raises(EngineUnavailable, match="gpu"):
            device_for("gpu")
