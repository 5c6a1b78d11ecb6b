"""What a user of the embedder sees: right vectors in the right order, nothing cut, nothing run twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.device import choose_device
from indexes.embedder import (
    BATCH_TOKENS,
    OnnxEmbedder,
    by_length,
    has_vnni,
    open_embedder,
    open_identified,
)
from indexes.embedder_model import CONFIG, DEFAULT_MODEL, GRAPHS, ExportedModel, Tokens, find_source, source_digest
from indexes.embedder_process import TorchWorker
from indexes.embedding_cache import EmbeddingCache
from indexes.ports import Vectors
from semantic_layer.errors import CorruptGeneration, EngineUnavailable, InvalidArgument, NewerFormat
from tests.indexes.tiny_model import SIZE, tiny_model

REPOSITORY = Path(__file__).resolve().parents[2]
TEXTS = [
    "Shoes may be returned within thirty days of delivery, unworn and in their box.",
    "",
    "Net revenue is gross revenue less discounts and returns, booked at the day of shipment. " * 8,
    "Öffnungszeiten: täglich 9–18 Uhr",
    "The fiscal year starts in February.",
    "SKU 4711, blue, size 42",
]


@pytest.fixture(scope="module")
def torch_worker() -> Iterator[TorchWorker]:
    """sentence-transformers itself, in fp32."""
    worker = TorchWorker(find_source(DEFAULT_MODEL), device="cpu", precision="fp32", batch_size=32)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def torch_vectors(torch_worker: TorchWorker) -> Vectors:
    return torch_worker.embed(TEXTS)


@pytest.fixture(params=sorted(GRAPHS))
def each_precision(request: pytest.FixtureRequest, model_home: Path) -> OnnxEmbedder:
    return open_embedder(model_home, DEFAULT_MODEL, request.param)


def model_folder(home: Path) -> Path:
    return home / "models" / source_digest(find_source(DEFAULT_MODEL))


def copied_model(model_home: Path, home: Path) -> Path:
    """The default model in a home of its own, to damage; its graphs are links."""
    folder = model_folder(model_home)
    target = home / "models" / folder.name
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix == ".onnx":
            (target / path.name).symlink_to(path)
        else:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def cosines(left: Vectors, right: Vectors) -> list[float]:
    return list(np.sum(left * right, axis=1))


def test_vectors_are_those_of_sentence_transformers(each_precision: OnnxEmbedder, torch_vectors: Vectors) -> None:
    least = {"fp32": 0.999, "int8": 0.98}[each_precision.identity["precision"]]
    assert min(cosines(each_precision.embed(TEXTS), torch_vectors)) > least


def test_vectors_come_in_the_order_given_whatever_their_lengths(embedder: OnnxEmbedder) -> None:
    many = [f"order {number} " + "was returned late " * (number * 7 % 40) for number in range(120)]
    vectors = embedder.embed(many)
    assert vectors.shape == (120, embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for number in (0, 1, 59, 119):
        alone = embedder.embed([many[number]])[0]
        assert float(vectors[number] @ alone) > 0.99
        assert float(vectors[number] @ alone) > float(vectors[number - 3] @ alone)


def test_the_same_text_twice_gets_the_same_vector_and_progress_counts_every_text(
    embedder: OnnxEmbedder,
) -> None:
    heard: list[int] = []
    vectors = embedder.embed(["a blue shoe", "a red coat", "a blue shoe"], progress=heard.append)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert sum(heard) == 3


def test_no_texts_give_no_vectors(embedder: OnnxEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)
    assert embedder.token_vectors([]) == []
    assert embedder.count_tokens([]) == []


def test_a_passage_over_the_limit_is_refused_and_never_cut(embedder: OnnxEmbedder) -> None:
    fits = "word " * (embedder.max_tokens - 2)
    assert embedder.count_tokens([fits]) == [embedder.max_tokens]
    assert embedder.embed([fits]).shape == (1, embedder.dimension)
    with pytest.raises(InvalidArgument, match="text 1 has 257 tokens"):
        embedder.embed(["short", fits + "word"])
    with pytest.raises(InvalidArgument, match="text 0 has 257 tokens"):
        embedder.token_vectors([fits + "word"])


def test_a_question_over_the_limit_is_cut_and_says_so(embedder: OnnxEmbedder) -> None:
    short = embedder.embed_query("how long may shoes be returned")
    assert not short.truncated
    assert short.tokens is None
    long = embedder.embed_query("word " * 400, with_tokens=True)
    assert long.truncated
    assert long.tokens is not None
    assert long.tokens.shape == (embedder.max_tokens - 2, embedder.dimension)
    np.testing.assert_allclose(
        long.vector, embedder.embed_query("word " * (embedder.max_tokens - 2)).vector, atol=1e-6
    )


def test_a_question_finds_its_passage(embedder: OnnxEmbedder) -> None:
    scores = embedder.embed(TEXTS) @ embedder.embed_query("When can I give shoes back?").vector
    assert int(np.argmax(scores)) == 0


def test_token_vectors_are_unit_length_without_special_tokens(embedder: OnnxEmbedder) -> None:
    vectors = embedder.token_vectors(TEXTS)
    assert [len(each) for each in vectors] == [count - 2 for count in embedder.count_tokens(TEXTS)]
    assert {each.dtype for each in vectors} == {np.dtype(np.float16)}
    np.testing.assert_allclose(np.linalg.norm(vectors[0].astype(np.float32), axis=1), 1, atol=2e-3)


def test_what_the_cache_knows_is_not_run_again(model_home: Path, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    first = open_embedder(model_home, DEFAULT_MODEL, cache=cache)
    vectors = first.embed(TEXTS)

    class RunsNothing(OnnxEmbedder):
        def _run(self, tokens: Sequence[Tokens], outputs: list[str]) -> list[np.ndarray]:
            raise AssertionError("a known text was run again")

    folder = model_folder(model_home)
    second = RunsNothing(folder, first.identity["precision"], cache=EmbeddingCache(tmp_path))
    heard: list[int] = []
    np.testing.assert_array_equal(second.embed(TEXTS[::-1], progress=heard.append), vectors[::-1])
    assert sum(heard) == len(TEXTS)


def test_another_precision_does_not_share_the_cache(model_home: Path, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    small = open_embedder(model_home, DEFAULT_MODEL, "int8", cache=cache).embed(TEXTS[:1])
    full = open_embedder(model_home, DEFAULT_MODEL, "fp32", cache=cache).embed(TEXTS[:1])
    assert not np.array_equal(small, full)


def test_a_listener_that_fails_stops_the_work_at_once(embedder: OnnxEmbedder) -> None:
    heard: list[int] = []

    def fail(count: int) -> None:
        heard.append(count)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedder.embed([f"{number} " + "word " * 200 for number in range(200)], progress=fail)
    assert len(heard) == 1


def test_a_generation_is_asked_with_the_very_model_that_made_it(
    embedder: OnnxEmbedder, model_home: Path, tmp_path: Path
) -> None:
    again = open_identified(model_home, embedder.identity)
    assert again.identity == embedder.identity
    with pytest.raises(EngineUnavailable, match="is not in"):
        open_identified(tmp_path, embedder.identity)


def test_auto_precision_is_int8_where_the_processor_has_vnni(embedder: OnnxEmbedder) -> None:
    assert embedder.identity["precision"] == ("int8" if has_vnni() else "fp32")


def test_serving_loads_neither_torch_nor_sentence_transformers(model_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from indexes.embedder import open_embedder;"
        f"open_embedder(Path({os.fspath(model_home)!r}), {DEFAULT_MODEL!r}).embed_query('shoes');"
        "print(sorted({'torch', 'sentence_transformers', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_an_unknown_model_or_precision_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for unknown in ("nobody/no-such-model", "no-such-model", "a/b/c"):
        with pytest.raises(InvalidArgument, match=f"'{unknown}' is not on this machine"):
            open_embedder(tmp_path, unknown)
    for folder in ("/no/such/folder", os.fspath(tmp_path)):
        with pytest.raises(InvalidArgument, match=f"the folder {folder}, which does not exist or holds no"):
            open_embedder(tmp_path, folder)
    with pytest.raises(InvalidArgument, match="'int4' is not one of"):
        open_embedder(tmp_path, DEFAULT_MODEL, "int4")


def test_a_model_that_cannot_be_loaded_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InvalidArgument, match="cannot be loaded"):
        open_embedder(tmp_path / "home", os.fspath(tmp_path / "model"))
    assert [path.suffix for path in (tmp_path / "home" / "models").iterdir()] == [".lock"]


def test_a_damaged_model_is_never_used(model_home: Path, tmp_path: Path) -> None:
    folder = copied_model(model_home, tmp_path)
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes().replace(b"shoes", b"shoos"))
    with pytest.raises(CorruptGeneration, match=r"tokenizer\.json"):
        open_embedder(tmp_path, DEFAULT_MODEL)
    settings = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(settings | {"format": 99}))
    with pytest.raises(NewerFormat, match="format 99"):
        open_embedder(tmp_path, DEFAULT_MODEL)


def test_exporters_at_once_leave_one_whole_model_and_a_killed_one_leaves_none(tmp_path: Path) -> None:
    source, home = tiny_model(tmp_path / "tiny"), tmp_path / "home"
    command = [sys.executable, "-m", "tests.indexes.exporters", os.fspath(source), os.fspath(home)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["killed"] == ""
    assert said["left"] == [".building", ".lock"]

    (folder,) = (home / "models").glob("[!.]*")
    assert said["folders"] == [os.fspath(folder)] * 2
    model = ExportedModel.read(folder)
    assert all(model.verified(folder, name).is_file() for name in model.files)
    assert not list((home / "models").glob(".*.building"))
    assert open_embedder(home, os.fspath(source)).embed(["shoes", "coats"]).shape == (2, SIZE)


def test_a_gpu_that_is_asked_for_and_absent_is_named(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EngineUnavailable, match="no CUDA device answers"):
        open_embedder(model_home, DEFAULT_MODEL, device="gpu")
    with pytest.raises(InvalidArgument, match="'tpu' is not one of"):
        choose_device("tpu")


def test_a_torch_worker_embeds_behind_the_same_embedder(
    torch_worker: TorchWorker, model_home: Path, torch_vectors: Vectors
) -> None:
    folder = model_folder(model_home)
    behind = OnnxEmbedder(folder, "fp32", worker=torch_worker)
    assert behind.identity["runtime"] == "torch"
    heard: list[int] = []
    np.testing.assert_allclose(behind.embed(TEXTS, progress=heard.append), torch_vectors, atol=1e-6)
    assert sum(heard) == len(TEXTS)
    with pytest.raises(InvalidArgument, match="text 0 has"):
        behind.embed(["word " * 300])


def test_a_torch_worker_that_ends_says_why(tmp_path: Path) -> None:
    worker = TorchWorker(tmp_path, device="cpu", precision="bf16", batch_size=8)
    with pytest.raises(EngineUnavailable, match=r"the embedding worker on cpu ended with exit code 1: .+"):
        worker.embed(["shoes"])


@pytest.mark.gpu
def test_on_a_gpu_passages_are_embedded_in_bf16(model_home: Path, torch_vectors: Vectors) -> None:
    if choose_device("auto") != "gpu":
        pytest.skip("no CUDA device answers here")
    on_gpu = open_embedder(model_home, DEFAULT_MODEL, "fp32", device="gpu")
    assert min(cosines(on_gpu.embed(TEXTS), torch_vectors)) > 0.99
    on_gpu.close()


@given(st.lists(st.integers(1, 600), max_size=60))
def test_batches_hold_every_text_once_and_stay_within_their_tokens(lengths: list[int]) -> None:
    tokens = [Tokens(np.zeros(length, np.int64), np.zeros(length, np.bool_)) for length in lengths]
    batches = by_length(tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= BATCH_TOKENS
