"""The torch side: exports a sentence-transformers model to ONNX once, and serves one to another process.

Run as `python -m indexes.embedder_export` (see indexes.embedder_process); only there is torch loaded.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import shutil
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from indexes.embedder import OnnxEmbedder, quantise
from indexes.embedder_model import (
    CONFIG,
    GRAPHS,
    TOKENIZER,
    ExportedModel,
    file_sha256,
    find_source,
    source_digest,
)
from semantic_layer.errors import EngineUnavailable, InvalidArgument, OutOfSpace, WellheadError

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUTS = ("vectors", "token_vectors")
_EXPORTABLE = {"Transformer", "Pooling", "Dense", "Normalize", "LayerNorm", "Dropout"}
_AGREEMENT = 0.999
_LARGEST_GRAPH_BYTES = 1_900_000_000
_SAMPLES = (
    "Returns",
    "How long may a customer return shoes?",
    "Net revenue is gross revenue less discounts, returns and value-added tax, booked at the day of shipment.",
    "the boundary layer on a flat plate in a supersonic stream was measured at several stations . " * 8,
)


class _Graph(torch.nn.Module):
    """The model's own modules in their order, then unit length; the sentence's vector and each token's."""

    def __init__(self, model: SentenceTransformer, inputs: Sequence[str]) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(list(model))
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features: dict[str, Any] = dict(zip(self.inputs, tensors, strict=True))
        for step in self.steps:
            features = step(features)
        unit = torch.nn.functional.normalize
        return unit(features["sentence_embedding"], dim=1), unit(features["token_embeddings"], dim=2)


def export_model(model: str, home: Path) -> Path:
    """Export `model` to `home`/models/<sha256 of its source and our recipe>, once, and return that folder.

    The folder appears whole (fsync, then one rename) or not at all, also under a kill; a second exporter waits
    and finds it done. It holds model.onnx, model.int8.onnx, tokenizer.json and config.json. Raises
    InvalidArgument for a model that is unknown or cannot be exported, and OutOfSpace.
    """
    source = find_source(model)
    sha256 = source_digest(source)
    models = home / "models"
    models.mkdir(parents=True, exist_ok=True)
    final = models / sha256
    with _alone(models / f".{sha256}.lock"):
        if (final / CONFIG).is_file():
            return final
        building = models / f".{sha256}.building"
        shutil.rmtree(building, ignore_errors=True)  # of an exporter that was killed: we hold its lock
        building.mkdir()
        try:
            _write(building, source, model, sha256)
            _flush(building)
            building.rename(final)
            _fsync(models)
        except OSError as cause:
            if cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutOfSpace(f"the disk filled up while {model} was exported to {models}.") from cause
            raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return final


def serve(source: Path, device: str, precision: str, batch_size: int, replies: BinaryIO) -> None:
    """Answer JSON lists of texts, a line each on standard input, with a JSON shape and raw float32 vectors."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineUnavailable(
            f"a CUDA device answers, but torch {torch.__version__} cannot use it.",
            hint="Install a torch built for this driver's CUDA, or set device: cpu.",
        )
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    model = SentenceTransformer(os.fspath(source), device=device, model_kwargs={"dtype": dtype})
    _reply(replies, {"ready": True})
    for line in sys.stdin.buffer:
        vectors = model.encode(json.loads(line), prompt="", batch_size=batch_size, convert_to_tensor=True)
        unit = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
        _reply(replies, {"shape": unit.shape})
        replies.write(np.ascontiguousarray(unit, "<f4").tobytes())
        replies.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: `export` prints the folder as JSON, `serve` answers until its input ends."""
    parser = argparse.ArgumentParser(prog="python -m indexes.embedder_export", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    exporter = verbs.add_parser("export", help="export a model to ONNX")
    exporter.add_argument("--model", required=True)
    exporter.add_argument("--home", required=True, type=Path)
    server = verbs.add_parser("serve", help="embed texts from standard input")
    server.add_argument("--source", required=True, type=Path)
    server.add_argument("--device", required=True)
    server.add_argument("--precision", required=True, choices=["bf16", "fp32"])
    server.add_argument("--batch-size", required=True, type=int)
    options = parser.parse_args(arguments)
    with _replies() as replies:
        try:
            if options.verb == "export":
                folder = export_model(options.model, options.home)
                _reply(replies, {"folder": os.fspath(folder)})
            else:
                serve(options.source, options.device, options.precision, options.batch_size, replies)
        except WellheadError as error:
            problem = {"class": type(error).__name__, "message": error.message, "hint": error.hint}
            _reply(replies, {"error": problem})
            return error.exit_code
        except Exception:  # the door of this process: the caller reads the traceback's last line
            traceback.print_exc()
            return 1
    return 0


def _write(folder: Path, source: Path, name: str, sha256: str) -> None:
    model = _loaded(source, name)
    described = _described(model, name, sha256)
    graph, small = folder / GRAPHS["fp32"], folder / GRAPHS["int8"]
    _save_tokenizer(model, name, folder / TOKENIZER)
    _save_graph(model, name, described.max_tokens, graph)
    _scale_rows(graph, small)
    quantise(small, small)
    files = {path.name: file_sha256(path) for path in (graph, small, folder / TOKENIZER)}
    described = replace(described, files=files)
    described.write(folder)
    replace(described, int8_agreement=_checked_agreement(model, folder, described)).write(folder)


def _loaded(source: Path, name: str) -> SentenceTransformer:
    # Eager attention exports to plain matrix products, which ONNX Runtime ran a fifth faster than the fused form.
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    try:
        return SentenceTransformer(os.fspath(source), device="cpu", model_kwargs=options).eval()
    except (OSError, ValueError, KeyError, TypeError, ImportError) as cause:
        raise InvalidArgument(
            f"embedding.model {name!r} cannot be loaded from {source}: {str(cause).splitlines()[0]}",
            hint="It must be a folder that sentence-transformers saved, without code of its own.",
        ) from cause


def _described(model: SentenceTransformer, name: str, sha256: str) -> ExportedModel:
    strange = [type(step).__name__ for step in model if type(step).__name__ not in _EXPORTABLE]
    pooling = next((step for step in model if isinstance(step, Pooling)), None)
    transformer = model[0]
    if strange or pooling is None or not isinstance(transformer, Transformer):
        raise _not_exportable(name, f"it has {', '.join(strange) or 'no'} modules where we can export pooling")
    normalises = any(type(step).__name__ == "Normalize" for step in model)
    if model.similarity_fn_name == "dot" and not normalises:
        raise _not_exportable(name, "it ranks by dot product of vectors that are not of unit length")
    prompts = {key: value for key, value in model.prompts.items() if isinstance(value, str)}
    passage = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key)), "")
    if not pooling.include_prompt and (passage or prompts.get("query")):
        raise _not_exportable(name, "its pooling leaves out the prompt's tokens")
    limit = model.get_max_seq_length()
    if not limit or limit > 1_000_000:
        raise _not_exportable(name, "it states no token limit (max_seq_length)")
    libraries = ("torch", "sentence-transformers", "onnx", "onnxruntime")
    mode = pooling.pooling_mode
    return ExportedModel(
        name=name,
        sha256=sha256,
        dimension=int(model.get_embedding_dimension() or 0),
        max_tokens=int(limit),
        pooling=mode if isinstance(mode, str) else "+".join(mode),
        pad_token=int(model.tokenizer.pad_token_id or 0),
        query_prefix=prompts.get("query", ""),
        passage_prefix=passage,
        made_with={library: version(library) for library in libraries},
    )


def _save_tokenizer(model: SentenceTransformer, name: str, path: Path) -> None:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _not_exportable(name, "it has no fast tokenizer (tokenizer.json)")
    backend.save(os.fspath(path))


def _save_graph(model: SentenceTransformer, name: str, max_tokens: int, path: Path) -> None:
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    if weights > _LARGEST_GRAPH_BYTES:
        raise _not_exportable(name, f"its weights take {weights / 1e9:.1f} GB, and one ONNX file holds 2")
    names = [each for each in _INPUTS if each in model.tokenizer.model_input_names]
    # Two texts of different length: an example of one text would fix the batch at one.
    example = model.preprocess([_SAMPLES[0], _SAMPLES[1]])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=max_tokens)}
    try:
        torch.onnx.export(
            _Graph(model, names).eval(),
            tuple(example[each] for each in names),
            path,
            dynamo=True,
            external_data=False,
            input_names=names,
            output_names=list(_OUTPUTS),
            dynamic_shapes={"tensors": tuple(sizes for _ in names)},
            verbose=False,
        )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as cause:
        raise _not_exportable(name, f"torch.onnx.export says: {str(cause).splitlines()[0]}") from cause


def _scale_rows(graph: Path, target: Path) -> None:
    """Write `graph` with each token brought to a largest value of 1 before every feed-forward product, and back.

    The same numbers, but int8 then rounds each token by its own scale. ONNX Runtime scales a whole batch at
    once, where a few tokens with huge values cost all others their precision: without this the vectors of
    all-MiniLM-L6-v2 were three times as far from fp32, and depended on what else was in the batch. Feed-forward
    weights are the ones that are not square.
    """
    model = onnx.load(os.fspath(graph))
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    last, least = "wh_last_axis", "wh_least_scale"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1], np.int64), last))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1e-6, np.float32), least))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        shape = shapes.get(node.input[1], ()) if node.op_type == "MatMul" else ()
        if len(shape) != 2 or shape[0] == shape[1]:
            nodes.append(node)
            continue
        (rows, weights), (product,) = node.input, node.output
        size, largest, scale, scaled, scaled_product = (f"{product}_{i}" for i in range(5))
        make = onnx.helper.make_node
        nodes += [
            make("Abs", [rows], [size]),
            make("ReduceMax", [size, last], [largest], keepdims=1),
            make("Max", [largest, least], [scale]),
            make("Div", [rows, scale], [scaled]),
            make("MatMul", [scaled, weights], [scaled_product], name=node.name),
            make("Mul", [scaled_product, scale], [product]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, os.fspath(target))


def _checked_agreement(model: SentenceTransformer, folder: Path, exported: ExportedModel) -> float:
    """The mean cosine of int8 with torch's own vectors, after fp32 has been shown to be the same."""
    texts = [exported.passage_prefix + text for text in _SAMPLES]
    wanted = np.asarray(model.encode(texts, prompt="", normalize_embeddings=True))
    cosines = {
        precision: float(np.sum(wanted * OnnxEmbedder(folder, precision).embed(_SAMPLES), axis=1).mean())
        for precision in GRAPHS
    }
    if cosines["fp32"] < _AGREEMENT:
        raise _not_exportable(exported.name, f"its exported vectors differ (cosine {cosines['fp32']:.4f})")
    return round(cosines["int8"], 4)


def _not_exportable(name: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"embedding.model {name!r} cannot be exported to ONNX: {why}.",
        hint="Choose another sentence-transformers model.",
    )


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Hold the lock file; a killed holder's lock is free at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replies() -> Generator[BinaryIO]:
    """Standard output for replies alone; whatever libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        yield replies


def _reply(replies: BinaryIO, content: Any) -> None:
    replies.write(json.dumps(content).encode() + b"\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(main())
