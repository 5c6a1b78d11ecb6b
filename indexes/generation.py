"""A generation: one product's sealed, immutable, checksummed build, and the stage it is built in."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from indexes.durable import disk_full_named, fsync_file, fsync_folder, json_bytes, read_json, sha256_of_file
from semantic_layer.errors import Busy, CorruptGeneration, UnknownName

FORMAT = 2
MANIFEST = "manifest.json"
TABLES = "tables.duckdb"
VECTORS = "vectors"
TEXT = "text"
DESCRIPTORS = "descriptors"
FUSION = "fusion"


@dataclass(frozen=True)
class Input:
    """One thing a generation was built from: a file, a table's rows, a descriptor."""

    name: str
    sha256: str
    bytes: int = 0


@dataclass(frozen=True)
class Manifest:
    """What a generation is and how it came to be. `files` maps each relative path to its SHA-256 and size.

    `recipe` names parser, chunker, embedder and engine versions; `watermark` is the newest moment the source
    speaks of (ISO 8601, UTC; empty where the contract declares none); `build` holds seconds and peak bytes.
    """

    product: str
    generation: str
    created_at: str
    inputs: tuple[Input, ...]
    recipe: Mapping[str, Any]
    contract_fingerprint: str
    watermark: str
    counts: Mapping[str, int]
    engines: Mapping[str, Mapping[str, Any]]
    gates: tuple[Mapping[str, Any], ...]
    set_aside: tuple[Mapping[str, Any], ...]
    build: Mapping[str, float]
    files: Mapping[str, Mapping[str, Any]]

    @cached_property
    def gates_passed(self) -> int:
        """How many of its gates it passed; the others warned."""
        return sum(bool(gate.get("passed")) for gate in self.gates)


def generation_id(product: str, inputs: Sequence[Input], recipe: Mapping[str, Any], fingerprint: str) -> str:
    """16 hex digits of SHA-256 over product, inputs, recipe and contract; never over vector bytes."""
    canonical = json_bytes(
        {
            "product": product,
            "inputs": sorted([one.name, one.sha256] for one in inputs),
            "recipe": dict(recipe),
            "contract": fingerprint,
        }
    )
    return hashlib.sha256(canonical).hexdigest()[:16]


def generations_folder(home: Path, product: str) -> Path:
    """Where a product's sealed generations lie."""
    return home / "generations" / product


def generation_folder(home: Path, product: str, generation: str) -> Path:
    """Where one sealed generation lies."""
    return generations_folder(home, product) / generation


@contextlib.contextmanager
def building(home: Path, product: str) -> Generator[None]:
    """Hold the product's build lock; the system frees it when the process dies. Raises Busy when it is held."""
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{product}.lock").open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another ingest of {product!r} is running.", hint="Wait for it; `wellhead status` shows it."
            ) from None
        yield


class Stage:
    """The folder a candidate is built in. What a kill left behind is removed by the next stage of the product.

    Use it under `building`: one stage a product at a time.
    """

    def __init__(self, home: Path, product: str) -> None:
        self.home = home
        self.product = product
        stages = home / "stages"
        stages.mkdir(parents=True, exist_ok=True)
        for leftover in stages.glob(f"{product}@*"):
            shutil.rmtree(leftover)
        self.folder = stages / f"{product}@{uuid.uuid4().hex}"
        for name in (VECTORS, TEXT, DESCRIPTORS):
            (self.folder / name).mkdir(parents=True)

    def seal(self, manifest: Manifest) -> Manifest:
        """Checksum and flush every file, write the manifest last, and move the folder to its final place.

        Returns the manifest with `files` filled in. A generation of the same id that already stands and is
        whole is kept as it is; one that is damaged, or that names other matter on a server, is replaced.
        """
        with disk_full_named(self.folder):
            files = {
                path.relative_to(self.folder).as_posix(): {
                    "sha256": sha256_of_file(path),
                    "bytes": path.stat().st_size,
                }
                for path in _files_in(self.folder)
            }
            sealed = replace(manifest, files=files)
            (self.folder / MANIFEST).write_bytes(json_bytes(_manifest_json(sealed)))
            for path in _files_in(self.folder):
                fsync_file(path)
            for folder in [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]:
                fsync_folder(folder)
            return self._move_into_place(sealed)

    def _move_into_place(self, sealed: Manifest) -> Manifest:
        target = generation_folder(self.home, self.product, sealed.generation)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            try:
                standing = verify(target)
            except CorruptGeneration:
                standing = None
            if standing is not None and _matter(standing) == _matter(sealed):
                self.discard()
                return standing
            shutil.rmtree(target)
        self.folder.rename(target)
        fsync_folder(target.parent)
        return sealed

    def discard(self) -> None:
        """Remove the stage; the live generation is untouched."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _matter(manifest: Manifest) -> list[Any]:
    """What tells the tables and indices on servers apart that generations of one id were built with."""
    return [[one.get(key) for key in ("table", "index", "digest")] for _, one in sorted(manifest.engines.items())]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a sealed generation. Raises UnknownName where there is none."""
    path = folder / MANIFEST
    if not path.exists():
        raise UnknownName("generation", folder.name, hint=f"Nothing is sealed at {folder}.")
    return _manifest(read_json(path, FORMAT))


def verify(folder: Path) -> Manifest:
    """The manifest, after every file was found whole. Raises CorruptGeneration naming the first bad file.

    Extra files are refused too: what the manifest does not name was not sealed.
    """
    manifest = read_manifest(folder)
    standing = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
    standing.pop(MANIFEST, None)
    for name, expected in manifest.files.items():
        path = standing.pop(name, None)
        if path is None:
            raise _corrupt(folder, name, "is missing")
        if path.stat().st_size != expected["bytes"]:
            raise _corrupt(folder, name, f"has {path.stat().st_size} bytes instead of {expected['bytes']}")
        if sha256_of_file(path) != expected["sha256"]:
            raise _corrupt(folder, name, "does not match its checksum")
    if standing:
        raise _corrupt(folder, next(iter(standing)), "was not sealed with it")
    return manifest


def sealed_generations(home: Path, product: str) -> list[Manifest]:
    """The manifests of a product's sealed generations, oldest first."""
    found: list[Manifest] = []
    for path in generations_folder(home, product).glob("*/" + MANIFEST):
        with contextlib.suppress(UnknownName, FileNotFoundError):  # removed while we look
            found.append(read_manifest(path.parent))
    return sorted(found, key=lambda manifest: manifest.created_at)


def new_manifest_moment() -> str:
    """Now, in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _corrupt(folder: Path, name: str, what: str) -> CorruptGeneration:
    return CorruptGeneration(
        f"generation {folder.parent.name}/{folder.name}: {name} {what}.",
        hint=f"Run `wellhead ingest {folder.parent.name}` to build it anew, or `wellhead rollback`.",
    )


def _files_in(folder: Path) -> list[Path]:
    return sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)


def _manifest_json(manifest: Manifest) -> dict[str, Any]:
    return {**asdict(manifest), "format": FORMAT}


def _manifest(data: dict[str, Any]) -> Manifest:
    return Manifest(
        product=data["product"],
        generation=data["generation"],
        created_at=data["created_at"],
        inputs=tuple(Input(**one) for one in data["inputs"]),
        recipe=data["recipe"],
        contract_fingerprint=data["contract_fingerprint"],
        watermark=data["watermark"],
        counts=data["counts"],
        engines=data["engines"],
        gates=tuple(data["gates"]),
        set_aside=tuple(data["set_aside"]),
        build=data["build"],
        files=data["files"],
    )
