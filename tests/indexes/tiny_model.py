"""A sentence-transformers model small enough to be exported in a second: one layer of random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from indexes.embedder_model import DEFAULT_MODEL, find_source

SIZE, INNER, HEADS = 32, 64, 2


def tiny_model(folder: Path) -> Path:
    """The default model's folder with its own tokenizer and settings, and a network of SIZE dimensions."""
    source = find_source(DEFAULT_MODEL)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    small = {"hidden_size": SIZE, "intermediate_size": INNER, "num_attention_heads": HEADS, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps({**config, **small}), encoding="utf-8")
    pooling = folder / "1_Pooling" / "config.json"
    stated = json.loads(pooling.read_text(encoding="utf-8"))
    pooling.write_text(json.dumps({**stated, "word_embedding_dimension": SIZE}), encoding="utf-8")
    weights = _weights(config["vocab_size"], config["max_position_embeddings"], config["type_vocab_size"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _weights(words: int, positions: int, types: int) -> dict[str, NDArray[np.float32]]:
    """What a BERT of one layer holds, by the names that transformers gives it."""
    rng = np.random.default_rng(0)
    layer = "encoder.layer.0"
    linear = {
        **{f"{layer}.attention.self.{name}": (SIZE, SIZE) for name in ("query", "key", "value")},
        f"{layer}.attention.output.dense": (SIZE, SIZE),
        f"{layer}.intermediate.dense": (INNER, SIZE),
        f"{layer}.output.dense": (SIZE, INNER),
        "pooler.dense": (SIZE, SIZE),
    }
    norms = ("embeddings", f"{layer}.attention.output", f"{layer}.output")
    tables = {"word": words, "position": positions, "token_type": types}
    found = {
        **{
            f"embeddings.{name}_embeddings.weight": rng.standard_normal((rows, SIZE))
            for name, rows in tables.items()
        },
        **{f"{name}.weight": rng.standard_normal(shape) / shape[1] ** 0.5 for name, shape in linear.items()},
        **{f"{name}.bias": np.zeros(shape[0]) for name, shape in linear.items()},
        **{f"{name}.LayerNorm.weight": np.ones(SIZE) for name in norms},
        **{f"{name}.LayerNorm.bias": np.zeros(SIZE) for name in norms},
    }
    return {name: value.astype(np.float32) for name, value in found.items()}
