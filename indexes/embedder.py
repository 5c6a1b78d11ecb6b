"""Embeds text with an exported model in ONNX Runtime, so that no serving process needs torch.

The choices below were measured with all-MiniLM-L6-v2 in int8 on two cores (texts of 183 tokens): one thread a
run and several runs at once beat one run on several threads by a fifth, and need no spinning; runs of 512
tokens stay inside the processor's cache and beat those of 4,096 by a tenth.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from indexes.cores import usable_cores
from indexes.device import choose_device
from indexes.document import sha256_of
from indexes.embedder_model import (
    GRAPHS,
    TOKENIZER,
    ExportedModel,
    ModelTokenizer,
    Tokens,
    find_source,
    source_digest,
)
from indexes.embedder_process import TorchWorker, export
from indexes.embedding_cache import EmbeddingCache
from indexes.ports import Vectors
from semantic_layer.errors import EngineUnavailable, InvalidArgument

Vector = NDArray[np.float32]
"""Shape (dimension,), unit length."""

TokenVectors = NDArray[np.float16]
"""Shape (tokens, dimension): one unit vector for each token that is not special, in reading order."""

BATCH_TOKENS = 512
SLICE_TEXTS = 1024
GPU_SLICE_TEXTS = 8192
GPU_BATCH_SIZE = 256
INT8_AGREEMENT = 0.98
"""`auto` takes int8 only where its vectors agree with those of fp32 at least so well (mean cosine)."""


@dataclass(frozen=True)
class QueryVector:
    """A question's vector; whether its end was cut off; its token vectors where they were asked for."""

    vector: Vector
    truncated: bool
    tokens: TokenVectors | None = None


class OnnxEmbedder:
    """An `Embedder` (indexes.ports) over one exported model. Safe to use from several threads.

    `threads` bounds how many runs go on at once in `embed` and `token_vectors`; a question runs on the thread
    that asks. With a `worker`, `embed` is done by it (sentence-transformers on a GPU), all else stays here.
    """

    def __init__(
        self,
        folder: Path,
        precision: str,
        *,
        threads: int | None = None,
        cache: EmbeddingCache | None = None,
        worker: TorchWorker | None = None,
    ) -> None:
        self.model = ExportedModel.read(folder)
        self._precision = precision
        self._threads = threads or usable_cores()
        self._cache = cache
        self._worker = worker
        self._tokenizer = ModelTokenizer(self.model.verified(folder, TOKENIZER), self.model.max_tokens)
        self._session = _open_session(self.model.verified(folder, GRAPHS[precision]))
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    @property
    def languages(self) -> frozenset[str]:
        """The ISO 639-1 codes of the languages the model speaks; empty where it speaks many, or none knows."""
        return self.model.languages

    @property
    def dimension(self) -> int:
        return self.model.dimension

    @property
    def max_tokens(self) -> int:
        return self.model.max_tokens

    @property
    def identity(self) -> Mapping[str, str]:
        """What changes vectors. Library versions do not: they move them less than a batch's neighbours do."""
        return {
            "model": self.model.sha256,
            "runtime": "torch" if self._worker else "onnxruntime",
            "precision": self._worker.precision if self._worker else self._precision,
            "max_tokens": str(self.model.max_tokens),
            "pooling": self.model.pooling,
            "prefix": json.dumps([self.model.query_prefix, self.model.passage_prefix]),
        }

    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """One unit vector a text, in the order given; float32 of shape (len(texts), dimension).

        Nothing is cut: a text over the token limit raises InvalidArgument with its position. What the cache
        knows is not run again. `progress` hears, on the calling thread, how many more texts are done. Beside
        the result, memory holds only two slices of the texts' tokens and vectors at a time.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        with ThreadPoolExecutor(self._threads, "embed") as workers:
            for part in self._prepared(texts):
                found = dict(part.known)
                if part.missing:
                    fresh = self._fresh(part, workers, progress or _unheard)
                    if self._cache is not None:
                        self._cache.put(self.identity, part.missing, fresh)
                    found.update(zip(part.missing, fresh, strict=True))
                for position, key in enumerate(part.keys, part.start):
                    vectors[position] = found[key]
                if progress is not None and (known := sum(key in part.known for key in part.keys)):
                    progress(known)
        return vectors

    def embed_query(self, text: str, *, with_tokens: bool = False) -> QueryVector:
        """A question's vector. A question over the token limit is cut, and says so in `truncated`."""
        tokens, truncated = self._tokenizer.encode_cut(text, self.model.query_prefix)
        outputs = self._run([tokens], ["vectors", "token_vectors"] if with_tokens else ["vectors"])
        per_token = _plain(outputs[1][0], tokens) if with_tokens else None
        return QueryVector(outputs[0][0], truncated, per_token)

    def token_vectors(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Each passage's token vectors, in the order given. Raises InvalidArgument for one over the limit."""
        tokens = self._encoded(texts, 0)
        vectors: dict[int, TokenVectors] = {}

        def run(batch: Sequence[int]) -> int:
            (output,) = self._run([tokens[i] for i in batch], ["token_vectors"])
            vectors.update((i, _plain(output[row], tokens[i])) for row, i in enumerate(batch))
            return len(batch)

        with ThreadPoolExecutor(self._threads, "embed") as workers:
            _run_all(workers, run, by_length(tokens), _unheard)
        return [vectors[i] for i in range(len(texts))]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each passage as the model counts them, special tokens and the model's prefix included."""
        return self._tokenizer.count(texts, self.model.passage_prefix)

    def close(self) -> None:
        """End the GPU worker, where there is one."""
        if self._worker is not None:
            self._worker.close()

    def _prepared(self, texts: Sequence[str]) -> Iterator[_Slice]:
        """The texts in slices, each looked up and tokenised on a thread beside the one being embedded."""
        size = GPU_SLICE_TEXTS if self._worker else SLICE_TEXTS
        with ThreadPoolExecutor(1, "tokenise") as ahead:
            waiting: Future[_Slice] | None = None
            for start in range(0, len(texts), size):
                following = ahead.submit(self._prepare, texts[start : start + size], start)
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

    def _prepare(self, texts: Sequence[str], start: int) -> _Slice:
        keys = [sha256_of(text) for text in texts]
        position = {key: i for i, key in reversed(list(enumerate(keys)))}
        known = self._cache.get(self.identity, list(position)) if self._cache is not None else {}
        missing = [key for key in position if key not in known]
        left = [texts[position[key]] for key in missing]
        tokens = self._encoded(left, start, [position[key] for key in missing])
        return _Slice(start, keys, known, missing, left, tokens)

    def _encoded(self, texts: Sequence[str], start: int, positions: Sequence[int] | None = None) -> list[Tokens]:
        tokens = self._tokenizer.encode(texts, self.model.passage_prefix)
        for i, each in enumerate(tokens):
            if len(each) > self.max_tokens:
                number = start + (positions[i] if positions is not None else i)
                raise InvalidArgument(
                    f"text {number} has {len(each)} tokens, and {self.model.name} takes {self.max_tokens}.",
                    hint="Split it by `count_tokens`; nothing is cut in silence.",
                )
        return tokens

    def _fresh(self, part: _Slice, workers: ThreadPoolExecutor, progress: Callable[[int], None]) -> Vectors:
        copies = Counter(part.keys)
        if self._worker is not None:
            vectors = self._worker.embed([self.model.passage_prefix + text for text in part.texts])
            progress(sum(copies[key] for key in part.missing))
            return vectors
        vectors = np.empty((len(part.tokens), self.dimension), np.float32)

        def run(batch: Sequence[int]) -> int:
            vectors[batch] = self._run([part.tokens[i] for i in batch], ["vectors"])[0]
            return sum(copies[part.missing[i]] for i in batch)

        _run_all(workers, run, by_length(part.tokens), progress)
        return vectors

    def _run(self, tokens: Sequence[Tokens], outputs: list[str]) -> list[NDArray[np.float32]]:
        width = max(len(each) for each in tokens)
        ids = np.full((len(tokens), width), self.model.pad_token, np.int64)
        mask = np.zeros((len(tokens), width), np.int64)
        for row, each in enumerate(tokens):
            ids[row, : len(each)] = each.ids
            mask[row, : len(each)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        return self._session.run(outputs, {name: feed[name] for name in self._inputs}, options)


@dataclass(frozen=True)
class _Slice:
    """Some consecutive texts: their keys, the vectors known, and what must be run for the keys missing."""

    start: int
    keys: list[str]
    known: dict[str, Vector]
    missing: list[str]
    texts: list[str]
    tokens: list[Tokens]


def open_embedder(
    home: Path,
    model: str,
    precision: str = "auto",
    *,
    device: str = "cpu",
    threads: int | None = None,
    cache: EmbeddingCache | None = None,
) -> OnnxEmbedder:
    """Open `model` (a sentence-transformers name or folder) from `home`/models, exporting it there once.

    `precision` is auto, fp32 or int8; auto is int8 where the CPU has VNNI. `device` is auto, cpu or gpu; with
    gpu, `embed` runs in bf16 on it. Raises InvalidArgument, EngineUnavailable, OutOfSpace, CorruptGeneration.
    """
    if precision not in ("auto", *GRAPHS):
        raise InvalidArgument(
            f"embedding.precision {precision!r} is not one of auto, fp32, int8.", hint="Use auto."
        )
    on_gpu = choose_device(device) == "gpu"
    source = find_source(model)
    folder = home / "models" / source_digest(source)
    if not folder.is_dir():
        folder = export(model, home)
    if precision == "auto":
        precision = choose_precision(ExportedModel.read(folder))
    worker = None
    if on_gpu:
        worker = TorchWorker(source, device="cuda", precision="bf16", batch_size=GPU_BATCH_SIZE)
    return OnnxEmbedder(folder, precision, threads=threads, cache=cache, worker=worker)


def open_identified(home: Path, identity: Mapping[str, str], *, threads: int | None = None) -> OnnxEmbedder:
    """Open the very model that made a generation's vectors, by the `identity` its manifest recorded.

    Vectors made on a GPU (bf16) are asked in fp32. Raises EngineUnavailable where the model is not in
    `home`/models.
    """
    folder = home / "models" / identity["model"]
    if not folder.is_dir():
        raise EngineUnavailable(
            f"the embedding model {identity['model'][:12]} of a generation is not in {folder.parent}.",
            hint="Ingest the product again, or copy the models folder from where it was ingested.",
        )
    precision = identity["precision"]
    return OnnxEmbedder(folder, precision if precision in GRAPHS else "fp32", threads=threads)


def choose_precision(model: ExportedModel) -> str:
    """`int8` where this CPU multiplies int8 natively (VNNI) and the model bears it, else `fp32`."""
    return "int8" if has_vnni() and model.int8_agreement >= INT8_AGREEMENT else "fp32"


def has_vnni() -> bool:
    """Whether the CPU has AVX-512 VNNI or AVX-VNNI, as Linux lists them; False where it cannot be told."""
    try:
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(listing.split())


def by_length(tokens: Sequence[Tokens]) -> list[list[int]]:
    """Positions of `tokens` in batches of similar length, longest first, each at most BATCH_TOKENS when padded.

    A text longer than that is a batch of its own.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(tokens)), key=lambda i: -len(tokens[i])):
        if batches and len(tokens[batches[-1][0]]) * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def quantise(graph: Path, target: Path) -> None:
    """Write `graph` with int8 weights, one scale a channel, and activations scaled as they come.

    These are the settings of Optimum's avx512_vnni recipe: full int8 range, which needs VNNI to be exact.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, target, per_channel=True, reduce_range=False, weight_type=QuantType.QInt8)


def _open_session(graph: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not has_vnni():
        # There int8 products overflow their 16-bit sums; this is the slower way that does not.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # The fused layer norm sums number by number; as two steps it is vectorised, and the whole run a tenth faster.
    slow = ["SkipLayerNormFusion"]
    return onnxruntime.InferenceSession(
        os.fspath(graph), options, providers=["CPUExecutionProvider"], disabled_optimizers=slow
    )


def _run_all(
    workers: ThreadPoolExecutor,
    run: Callable[[Sequence[int]], int],
    batches: Sequence[Sequence[int]],
    heard: Callable[[int], None],
) -> None:
    futures = [workers.submit(run, batch) for batch in batches]
    try:
        for future in futures:
            heard(future.result())
    finally:
        for future in futures:
            future.cancel()  # when one failed or the caller was interrupted; nothing to do otherwise


def _plain(vectors: NDArray[np.float32], tokens: Tokens) -> TokenVectors:
    return vectors[: len(tokens)][~tokens.special].astype(np.float16)


def _unheard(_count: int) -> None:
    """Nobody listens to the progress."""
