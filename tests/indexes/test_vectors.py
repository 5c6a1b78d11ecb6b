"""Every vector engine promises the same; the exact one is the oracle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexes import device, vector_layout, vectors_faiss
from indexes.device import choose_device
from indexes.ports import Allowed, VectorReader, Vectors
from indexes.postgres.connection import Pool
from indexes.postgres.vectors import PgvectorBuilder, PgvectorReader, VectorSite
from indexes.vector_layout import Effort, Recipe, Route, route_for
from indexes.vectors_exact import ExactVectorBuilder, ExactVectorReader
from indexes.vectors_faiss import FaissBuilder, FaissReader
from semantic_layer.engine_settings import VectorIndexName
from semantic_layer.errors import CorruptGeneration, EngineUnavailable
from tests.indexes.elastic_site import cluster_at, vector_reader

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


def faiss_of(layout: VectorIndexName, flat_below: int = 1_000) -> Callable[[Path, Vectors], FaissReader]:
    def build(folder: Path, vectors: Vectors) -> FaissReader:
        builder = FaissBuilder(folder, vectors.shape[1], device="cpu", layout=layout, flat_below=flat_below)
        for start in range(0, len(vectors), 1000):
            builder.add(vectors[start : start + 1000])
        return FaissReader(folder, builder.seal())

    return build


def pgvector_of(site: VectorSite, folder: Path, vectors: Vectors, flat_below: int) -> PgvectorReader:
    builder = PgvectorBuilder(folder, vectors.shape[1], site, flat_below=flat_below)
    for start in range(0, len(vectors), 1000):
        builder.add(vectors[start : start + 1000])
    return PgvectorReader(site, builder.seal())


EMBEDDED = {
    "exact": exact,
    "flat": faiss_of("auto", 10**9),
    "ivf_pq": faiss_of("auto"),
    "ivf": faiss_of("ivf"),
    "hnsw": faiss_of("hnsw"),
}
IN_ELASTICSEARCH = {"elastic flat": 10**9, "elastic hnsw": 1_000}
IN_POSTGRES = {"pgvector flat": 10**9, "pgvector hnsw": 1_000}
ENGINES = (
    *EMBEDDED,
    *(pytest.param(name, marks=pytest.mark.elasticsearch) for name in IN_ELASTICSEARCH),
    *(pytest.param(name, marks=pytest.mark.postgres) for name in IN_POSTGRES),
)
Build = Callable[[str, Path, Vectors], VectorReader]


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest) -> Build:
    """Indexes vectors with an engine, and opens the index."""

    def built(engine: str, folder: Path, vectors: Vectors) -> VectorReader:
        if engine in EMBEDDED:
            return EMBEDDED[engine](folder, vectors)
        if engine in IN_POSTGRES:
            pool = Pool(request.getfixturevalue("postgres_dsn"))
            request.addfinalizer(pool.close)
            return pgvector_of(VectorSite(pool, "vectors"), folder, vectors, IN_POSTGRES[engine])
        cluster = cluster_at(request.getfixturevalue("elastic_node").url)
        return vector_reader(cluster, folder, vectors, IN_ELASTICSEARCH[engine])

    return built


@pytest.fixture(scope="module", params=ENGINES)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Build) -> VectorReader:
    return build(request.param, tmp_path_factory.mktemp("vectors"), VECTORS)


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
def test_equal_scores_come_by_lower_number_also_at_the_cut(engine: str, tmp_path: Path, build: Build) -> None:
    vectors = clustered(2_000)
    vectors[500:700] = vectors[3]
    reader = build(engine, tmp_path, vectors)
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
    assert facts["recall_at_10_of_stored"] >= 0.95
    assert facts["filtered_recall_at_10"] >= 0.95
    assert [route["selectivity"] for route in facts["routes"]] == [1.0, 0.5, 0.2, 0.1, 0.05, 0.02]
    kmeans = {"kmeans_seed": 1234, "kmeans_iterations": 10}
    assert facts["training"] == {"seed": vectors_faiss.SEED, "vectors": 5_800, "lists": 232, **kmeans}
    assert facts["count"] == COUNT
    assert [path.name for path in tmp_path.iterdir()] == ["index.faiss"]


def test_vectors_that_approximate_search_does_not_find_are_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_layout, "IVF_EFFORTS", (Effort(1, 12),))
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
        faiss_of("auto")(tmp_path / name, VECTORS)
        files.append((tmp_path / name / "index.faiss").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("dimension", "codes"),
    [(384, "PQ96x4fs"), (768, "PQ192x4fs"), (49, "SQ8"), (50, "PQ25x4fs"), (75, "PQ25x4fs")],
)
def test_any_dimension_has_a_layout(dimension: int, codes: str) -> None:
    assert Recipe("ivf_pq", 100_000, dimension).factory == f"IVF948,{codes},Refine(SQfp16)"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_index_finds_nothing(engine: str, tmp_path: Path, build: Build) -> None:
    reader = build(engine, tmp_path, np.empty((0, DIMENSION), np.float32))
    assert reader.count == 0
    assert len(reader.search(VECTORS[0], 5)[0]) == 0


@pytest.mark.parametrize("engine", ["exact", "flat", "ivf_pq"])
def test_a_damaged_file_is_named(engine: str, tmp_path: Path) -> None:
    EMBEDDED[engine](tmp_path, VECTORS[:1500])
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"not an index")
    with pytest.raises(CorruptGeneration, match=file.name):
        ExactVectorReader(tmp_path) if engine == "exact" else FaissReader(tmp_path, {})


def test_many_questions_at_once_find_what_each_finds_alone(tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[500:530] = vectors[3]
    queries = np.concatenate([clustered(20, seed=11), vectors[3:4]])
    for name in ("flat", "ivf_pq", "ivf", "hnsw"):
        (tmp_path / name).mkdir()
        reader = EMBEDDED[name](tmp_path / name, vectors)
        assert isinstance(reader, FaissReader)
        for allowed in (None, some_allowed(0.3), some_allowed(0.001), Allowed(np.empty(0, np.int64), COUNT)):
            numbers, scores = reader.search_many(queries, 10, allowed)
            for query, row, its in zip(queries, numbers, scores, strict=True):
                one, alone = reader.search(query, 10, allowed)
                assert row[: len(one)].tolist() == one.tolist()
                np.testing.assert_allclose(its[: len(one)], alone)
                assert (row[len(one) :] == -1).all()
                assert np.isneginf(its[len(one) :]).all()


def test_a_filter_takes_the_route_that_was_certified_for_no_more_than_it_lets_through() -> None:
    routes = [Route(share, Effort(nprobe), 0.99, 0.99) for share, nprobe in ((1.0, 8), (0.5, 16), (0.1, 64))]
    taken = {share: route_for(routes, share) for share in (1.0, 0.7, 0.3, 0.05)}
    assert {share: route and route.effort.nprobe for share, route in taken.items()} == {
        1.0: 8,
        0.7: 16,
        0.3: 64,
        0.05: None,
    }


def test_a_filter_that_an_index_answers_badly_is_answered_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_layout, "HNSW_EFFORTS", (Effort(ef=16),))
    monkeypatch.setattr(vectors_faiss, "EXACT_ALLOWED", 0)
    builder = FaissBuilder(tmp_path, DIMENSION, device="cpu", layout="hnsw", recall=0.8)
    builder.add(VECTORS)
    facts = builder.seal()
    certified = {route["selectivity"] for route in facts["routes"]}
    assert 1.0 in certified
    assert 0.1 not in certified
    allowed = some_allowed(0.15)
    reader, oracle = FaissReader(tmp_path, facts), exact(tmp_path, VECTORS)
    for query in clustered(10, seed=12):
        found, true = (one.search(query, 10, allowed)[0] for one in (reader, oracle))
        assert recall(found, true) >= 0.9


def test_effort_is_raised_until_the_recall_that_the_settings_ask_for_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_layout, "HNSW_EFFORTS", (Effort(ef=16), Effort(ef=256)))
    monkeypatch.setattr(vectors_faiss, "RECALL_WANTED", 0.5)
    taken: list[int] = []
    for floor in (0.5, 0.99):
        builder = FaissBuilder(tmp_path, DIMENSION, device="cpu", layout="hnsw", recall=floor)
        builder.add(VECTORS)
        facts = builder.seal()
        assert min(facts["recall_at_10"], facts["recall_at_10_of_stored"]) >= floor
        taken.append(facts["routes"][0]["effort"]["ef"])
    assert taken == [16, 256]


class StandIn:
    """The CPU in a GPU's place: what is copied there, and how many vectors are gathered there.

    It fails as FAISS does there: by too deep a search, by two threads at once, and where `full`.
    """

    def __init__(self) -> None:
        self.copied: list[str] = []
        self.gathered: list[int] = []
        self.full = False
        self._one = threading.Lock()

    def resources(self) -> StandIn:
        return self

    def copy(self, resources: StandIn, index: object) -> object:
        if self.full:
            raise RuntimeError("StandardGpuResources: alloc fail: out of memory\nat allocMemory")
        self.copied.append(type(index).__name__)
        return vectors_faiss.faiss.clone_index(index)

    def knn(self, resources: StandIn, questions: Vectors, vectors: Vectors, k: int) -> object:
        assert self._one.acquire(blocking=False), "two threads in one StandardGpuResources"
        try:
            assert k <= min(len(vectors), vectors_faiss.GPU_DEEPEST)
            self.gathered.append(len(vectors))
            return vectors_faiss.faiss.knn(questions, vectors, k, metric=vectors_faiss.faiss.METRIC_INNER_PRODUCT)
        finally:
            self._one.release()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Only what reaches a GPU is replaced: the count of devices, resources, copying and the search of gathered ones."""
    made = StandIn()
    monkeypatch.setattr(device, "cuda_devices", lambda: 1)
    monkeypatch.setattr(vectors_faiss, "gpu_usable", lambda: True)
    monkeypatch.setattr(vectors_faiss, "gpu_resources", made.resources)
    monkeypatch.setattr(vectors_faiss, "copied_to_gpu", made.copy)
    monkeypatch.setattr(vectors_faiss, "knn_on_gpu", made.knn)
    return made


def test_one_function_takes_a_gpu_where_it_answers_and_the_library_can_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for answering, usable, taken in ((0, True, "cpu"), (1, True, "gpu"), (1, False, "cpu")):
        monkeypatch.setattr(device, "cuda_devices", lambda answering=answering: answering)
        assert choose_device("auto", lambda usable=usable: usable) == taken
        assert choose_device("cpu", lambda: True) == "cpu"
        if taken == "gpu":
            assert choose_device("gpu", lambda: True) == "gpu"
        else:
            with pytest.raises(EngineUnavailable, match="a GPU was asked for"):
                choose_device("gpu", lambda usable=usable: usable)


@pytest.mark.parametrize("layout", ["flat", "ivf", "ivf_pq"])
def test_what_a_gpu_builds_and_serves_goes_the_same_way_on_a_stand_in(
    layout: VectorIndexName, tmp_path: Path, gpu: StandIn
) -> None:
    builder = FaissBuilder(tmp_path, DIMENSION, device="gpu", layout=layout)
    builder.add(VECTORS)
    facts = builder.seal()
    assert facts["device"] == "gpu"
    # The lists' centroids are trained there and vectors assigned there; a flat index has neither.
    assert gpu.copied == ([] if layout == "flat" else ["IndexFlatIP", "IndexFlat"])
    on_cpu, on_gpu = FaissReader(tmp_path, facts), FaissReader(tmp_path, facts, device="gpu")
    assert gpu.copied[-1] == "IndexFlatIP"
    for query in clustered(10, seed=13):
        for allowed in (None, some_allowed(0.3), some_allowed(0.001)):
            found, same = (reader.search(query, 10, allowed)[0] for reader in (on_cpu, on_gpu))
            assert recall(found, same) >= 0.9
            if allowed is not None:
                assert gpu.gathered[-1] == len(allowed.numbers)


def test_a_gpu_is_asked_by_one_thread_at_a_time_and_never_deeper_than_it_goes(
    tmp_path: Path, gpu: StandIn
) -> None:
    reader, allowed = faiss_on_gpu(tmp_path), some_allowed(0.6)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda query: reader.search(query, 10, allowed)[0], clustered(40, seed=15)))
    assert all(np.isin(numbers, allowed.numbers).all() for numbers in found)
    assert len(gpu.gathered) == 40
    assert len(reader.search(VECTORS[0], 3_000, allowed)[0]) == 3_000
    assert len(reader.search(VECTORS[0], 3_000)[0]) == 3_000
    assert len(gpu.gathered) == 40


def test_a_gpu_whose_memory_does_not_suffice_is_named(tmp_path: Path, gpu: StandIn) -> None:
    builder = FaissBuilder(tmp_path, DIMENSION, device="gpu", layout="ivf")
    builder.add(VECTORS)
    gpu.full = True
    with pytest.raises(EngineUnavailable, match="FAISS failed on the GPU: StandardGpuResources: alloc fail"):
        builder.seal()
    with pytest.raises(EngineUnavailable, match="out of memory"):
        faiss_on_gpu(tmp_path)


def faiss_on_gpu(folder: Path) -> FaissReader:
    """The vectors in a flat index, served on a GPU."""
    builder = FaissBuilder(folder, DIMENSION, device="cpu")
    builder.add(VECTORS)
    return FaissReader(folder, builder.seal(), device="gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["flat", "ivf", "ivf_pq"])
def test_a_gpu_builds_and_serves_what_the_cpu_does(layout: VectorIndexName, tmp_path: Path) -> None:
    if choose_device("auto", vectors_faiss.gpu_usable) == "cpu":
        pytest.skip("no GPU answers on this machine: the paths to it are tested on a stand-in")
    builder = FaissBuilder(tmp_path, DIMENSION, device="gpu", layout=layout)
    builder.add(VECTORS)
    facts = builder.seal()
    on_cpu, on_gpu = FaissReader(tmp_path, facts), FaissReader(tmp_path, facts, device="gpu")
    for query in clustered(30, seed=14):
        for allowed in (None, some_allowed(0.3), some_allowed(0.001)):
            found, same = (reader.search(query, 10, allowed)[0] for reader in (on_cpu, on_gpu))
            assert recall(found, same) >= 0.9
