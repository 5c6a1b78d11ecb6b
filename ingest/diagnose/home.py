"""The home of a workspace: space, permissions, the ledger, the live generations and the model that reads them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from indexes.embedder import open_identified
from indexes.embedder_model import DEFAULT_MODEL, find_source, source_digest
from indexes.generation import Manifest, generation_folder, verify
from indexes.ledger import Edition, Ledger
from indexes.ledgers import open_ledger
from ingest.diagnose.elasticsearch import look_at_matter
from ingest.diagnose.finding import Finding, attempt, failed
from semantic_layer.errors import CorruptGeneration, InvalidArgument, UnknownName, WellheadError
from semantic_layer.settings import WorkspaceSettings

_LITTLE = 2 * 2**30
_TOO_LITTLE = 256 * 2**20
_CLOCK_SLACK = timedelta(minutes=1)
_FILE_CLOCK_SLACK = 5.0


def look_at_home(home: Path, settings: WorkspaceSettings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding about what is built, by the ledger and the embedding model that the settings name."""
    yield _space(home)
    yield _writable(home)
    try:
        with closing(open_ledger(home, settings.ledger, settings.postgres, environment)) as ledger:
            yield attempt("ledger", lambda: _ledger(ledger))
            edition = ledger.edition()
    except InvalidArgument as error:
        yield failed("ledger", error)
        return
    except WellheadError:
        return  # the finding above says why
    yield _clock(edition)
    manifests: list[Manifest] = []
    for product, generation in sorted(edition.products.items()):
        try:
            manifests.append(_verified(generation_folder(home, product, generation)))
        except WellheadError as error:
            yield failed(f"generation {product}", error)
        else:
            files = len(manifests[-1].files)
            yield Finding(f"generation {product}", "ok", f"{generation}: {files} files match their checksums")
    yield from look_at_matter(home, manifests, settings, environment)
    yield from _models(home, settings.embedding.model, manifests)


def _standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(_standing(home)).free
    said = f"{free / 2**30:,.1f} GiB free for {home}"
    if free < _TOO_LITTLE:
        return Finding("disk", "fail", said, "Free some space: an ingest would not finish.")
    return (
        Finding("disk", "warn", said, "Free some space soon.") if free < _LITTLE else Finding("disk", "ok", said)
    )


def _writable(home: Path) -> Finding:
    folder = _standing(home)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as probe:
            apart = written_at(Path(probe.name)) - time.time()
    except OSError as error:
        return Finding("home", "fail", f"{folder} cannot be written: {error.strerror}.", "Mend its owner or mode.")
    if abs(apart) > _FILE_CLOCK_SLACK:
        said = f"the clock of the file system of {home} is {apart:+,.0f} s from this machine's."
        return Finding("home", "warn", said, "Set both clocks (NTP): jobs are leased to machines by them.")
    return Finding("home", "ok", f"{home} can be written")


def written_at(path: Path) -> float:
    """When a file was written, by the clock of whoever keeps it."""
    return path.stat().st_mtime


def _ledger(ledger: Ledger) -> str:
    edition, policies, tombstones = ledger.edition(), ledger.policies(), ledger.tombstones()
    if not edition.number:
        return "empty: nothing is live yet, run `wellhead ingest`"
    return f"edition {edition.number}, policy revision {policies.number}, {len(tombstones.entries)} tombstones"


def _clock(edition: Edition) -> Finding:
    now = datetime.now(UTC)
    if edition.number and datetime.fromisoformat(edition.at) > now + _CLOCK_SLACK:
        said = f"edition {edition.number} is of {edition.at}, but now is {now.isoformat(timespec='seconds')}."
        return Finding("clock", "warn", said, "Set the clock: freshness and tokens are judged by it.")
    return Finding("clock", "ok", f"{now.isoformat(timespec='seconds')}, after the newest edition")


def _verified(folder: Path) -> Manifest:
    try:
        return verify(folder)
    except UnknownName as missing:
        raise CorruptGeneration(
            f"the live generation {folder.parent.name}/{folder.name} is missing.",
            hint=f"Run `wellhead ingest {folder.parent.name}`, or `wellhead rollback`.",
        ) from missing


def _models(home: Path, model: str, manifests: list[Manifest]) -> Iterator[Finding]:
    """The models of the live generations are opened; where none is live, the one of the settings is looked for."""
    used = {one.recipe["embedder"]["model"]: one for one in manifests if one.counts.get("chunks", 0)}
    for name, manifest in used.items():
        yield attempt(f"model {name[:12]}", lambda manifest=manifest: _opened(home, manifest))
    if not used:
        yield _model_of_settings(home, model)


def _opened(home: Path, manifest: Manifest) -> str:
    embedder = open_identified(home, manifest.recipe["embedder"])
    try:
        return f"{embedder.model.name} opens, {embedder.identity['precision']}, {embedder.dimension} dimensions"
    finally:
        embedder.close()


def _model_of_settings(home: Path, model: str) -> Finding:
    """Looked for on this machine only: a doctor downloads nothing."""
    if model.removeprefix("sentence-transformers/") != DEFAULT_MODEL and not _is_path(model):
        return Finding("model", "ok", f"{model} comes from Hugging Face, with the first ingest")
    return attempt("model", lambda: _found(home, find_source(model), model))


def _is_path(model: str) -> bool:
    folder = Path(model).expanduser()
    return folder.is_dir() or folder.is_absolute() or model.startswith((".", "~"))


def _found(home: Path, source: Path, model: str) -> str:
    exported = (home / "models" / source_digest(source)).is_dir()
    return f"{model} is {'exported' if exported else 'on this machine; the first ingest exports it'}"
