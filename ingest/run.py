"""One product's ingest: read, build aside, judge, seal, and move the ledger's pointer, last."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.fusion_weight import FEWEST_QUESTIONS
from indexes.durable import sha256_of_file
from indexes.elastic.retention import owner_of
from indexes.embedder import OnnxEmbedder
from indexes.generation import (
    DESCRIPTORS,
    Input,
    Manifest,
    Stage,
    building,
    generation_folder,
    generation_id,
    new_manifest_moment,
    verify,
)
from indexes.ledger import Edition, Ledger
from indexes.ledgers import open_ledger
from indexes.library import Library
from indexes.live import LiveRecords
from indexes.retention import Surplus, collect, utc_now
from indexes.servers import Servers
from indexes.standing import check_matter
from ingest.build import Builder, Built
from ingest.embedding import SharedEmbedder
from ingest.gates import Gate, catalogue_gate, evaluation_gate, weighed_by_questions
from ingest.notes import Notes
from ingest.on_servers import sweep_servers, sweep_tables
from ingest.progress import Progress, Silent, Steps
from ingest.publish import Publisher
from ingest.recipe import recipe_of
from ingest.report import RunReport, State, failure_of, write_report
from ingest.settings import IngestSettings
from ingest.sources.earlier import Earlier, earlier_generation
from ingest.sources.fingerprint import Fingerprints
from ingest.sources.opened import Sources, open_sources
from ingest.space import out_of_space_named
from semantic_layer.descriptors import write_descriptors
from semantic_layer.errors import CorruptGeneration, EngineUnavailable, OutOfSpace, UnknownName, WellheadError
from semantic_layer.product import DataProduct
from semantic_layer.product_folder import CONTRACT, EVALS, POLICY, ProductFolder, contract_fingerprint
from semantic_layer.suite import read_suite
from semantic_layer.workspace import Workspace


def ingest_product(
    workspace: Workspace,
    product: str,
    *,
    settings: IngestSettings,
    by: str,
    embedding: SharedEmbedder,
    progress: Progress | None = None,
    gates: Sequence[Gate] = (),
) -> RunReport:
    """Make what the product's sources hold now its live generation; nothing is built when nothing changed.

    `gates` judge the candidate edition beside the catalogue and the evaluations. Every run leaves a report in
    the home. Raises Busy where another ingest of the product runs, UnknownName, SourceFailed, GateFailed,
    EngineUnavailable, OutOfSpace; the live generation keeps serving then, and the next run goes on from what
    the caches kept.
    """
    if product not in workspace.products:
        raise UnknownName("product", product, workspace.products)
    stated = workspace.settings
    opened = open_ledger(workspace.home, stated.ledger, stated.postgres, settings.environment)
    engines = Servers(stated.engines.below(workspace.root), settings.environment, stated.postgres)
    with (
        contextlib.closing(opened) as ledger,
        contextlib.closing(engines) as servers,
        building(workspace.home, product),
    ):
        folder = workspace.products[product]
        run = _Run(workspace, folder, settings, by, embedding, progress or Silent(), gates, ledger, servers)
        try:
            with out_of_space_named(workspace.home):
                report = run.run()
        except WellheadError as error:
            # the failure itself counts more than its report
            with contextlib.suppress(OutOfSpace, EngineUnavailable):
                write_report(workspace.home, run.report("failed", failure=failure_of(error)))
            raise
        write_report(workspace.home, report)
        return report


def searched(product: DataProduct) -> bool:
    """Whether the product holds text to search, which needs the embedding model."""
    return any(dataset.kind == "document" or dataset.text_columns for dataset in product.datasets)


@dataclass
class _Run:
    workspace: Workspace
    folder: ProductFolder
    settings: IngestSettings
    by: str
    embedding: SharedEmbedder
    progress: Progress
    gates: Sequence[Gate]
    ledger: Ledger
    servers: Servers
    notes: Notes = field(default_factory=Notes)
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=new_manifest_moment)
    reused: Mapping[str, int] = field(default_factory=dict[str, int])
    manifest: Manifest | None = None
    collected: Sequence[Surplus] = ()

    def __post_init__(self) -> None:
        self.steps = Steps(self.progress)
        folder = f"{self.workspace.settings.products}/{self.product.name}"
        for warning in self.workspace.warnings:  # rules that a person may count on and that are not checked
            if warning.file in (f"{folder}/{CONTRACT}", f"{folder}/{POLICY}"):
                self.notes.warn(str(warning))

    @property
    def product(self) -> DataProduct:
        return self.folder.product

    @property
    def home(self) -> Path:
        return self.workspace.home

    def run(self) -> RunReport:
        live = LiveRecords(self.settings.environment)
        library = Library(self.home, self.embedding.open, ledger=self.ledger, servers=self.servers)
        planned = {name: one.product for name, one in self.workspace.products.items()}
        gates = (catalogue_gate(planned), evaluation_gate(live.open), *self.gates)
        weigh = weighed_by_questions(live.open)
        publisher = Publisher(self.product.name, self.folder.policy, library, gates, weigh=weigh, by=self.by)
        try:
            edition = self.publish_newest(publisher)
        finally:
            live.close()
            library.close()
        changed: State = "policy" if publisher.policy_changed else "unchanged"
        return self.report("published" if publisher.edition_changed else changed, edition=edition)

    def publish_newest(self, publisher: Publisher) -> Edition:
        memory = self.home / "cache" / "files" / f"{self.product.name}.json"
        fingerprints = Fingerprints(memory, trusted=not self.settings.force)
        embedder = self.embedder()
        with open_sources(self.product, fingerprints, self.settings.environment, self.earlier()) as sources:
            inputs = (*sources.inputs, *self.descriptors())
            recipe = recipe_of(embedder, self.servers.settings)
            generation = generation_id(self.product.name, inputs, recipe, contract_fingerprint(self.folder))
            self.manifest = self.standing(generation)
            if self.manifest is None:
                self.manifest = self.build(self.draft(generation, inputs, recipe), sources, publisher)
        fingerprints.remember()
        edition = publisher.publish(self.place(generation), self.manifest)
        self.collect()
        self.sweep(building=(generation,))
        return edition

    def earlier(self) -> Earlier | None:
        """What unchanged rows may be taken from; None where no dataset says how they are told."""
        if not any(dataset.cursor for dataset in self.product.datasets) or self.settings.force:
            return None
        return earlier_generation(self.ledger, self.product.name, contract_fingerprint(self.folder))

    def embedder(self) -> OnnxEmbedder | None:
        """The model, where the product needs it; its first use on a machine exports it."""
        if not searched(self.product):
            return None
        with self.steps.step("open the model", "models"):
            return self.embedding.get()

    def place(self, generation: str) -> Path:
        return generation_folder(self.home, self.product.name, generation)

    def standing(self, generation: str) -> Manifest | None:
        """The sealed generation of these inputs, live or not yet; None where it is damaged or was never built."""
        if self.settings.force:
            return None
        try:
            manifest = verify(self.place(generation))
            check_matter(self.place(generation), manifest, self.product, self.servers)
        except (UnknownName, CorruptGeneration):
            return None
        return manifest

    def collect(self) -> None:
        """Remove the generations that retention no longer keeps; what cannot be removed now is only told."""
        kept = self.workspace.settings.retention
        if not kept.automatic:
            return
        try:
            self.collected = collect(self.ledger, self.product.name, kept, utc_now())
        except (OSError, EngineUnavailable) as error:
            self.notes.warn(f"older generations could not be removed: {error}")

    def sweep(self, building: Sequence[str] = ()) -> None:
        """Drop what earlier runs left on servers."""
        sweep_tables(self.home, self.product.name, self.servers)
        sweep_servers(self.ledger, self.product.name, self.servers, building)

    def descriptors(self) -> list[Input]:
        """The files that are sealed beside the data; a policy is none of them."""
        files = {**self.folder.files, **({EVALS: self.folder.evals_path} if self.folder.evals_path else {})}
        return [
            Input(f"{DESCRIPTORS}/{name}", sha256_of_file(path), path.stat().st_size)
            for name, path in sorted(files.items())
        ]

    def build(self, draft: Manifest, sources: Sources, publisher: Publisher) -> Manifest:
        """Build, judge and seal in a stage that is removed when anything fails."""
        stage = Stage(self.home, self.product.name)
        self.sweep()
        try:
            descriptors = stage.folder / DESCRIPTORS
            write_descriptors(self.folder, descriptors)
            if self.folder.evals_path is not None:
                (descriptors / EVALS).write_bytes(self.folder.evals_path.read_bytes())
            known = self.embedding.computed
            built = self.builder(stage.folder, sources, draft.generation).build()
            computed = self.embedding.computed - known
            self.reused = {**built.reused, "vectors": max(0, built.counts["chunks"] - computed)}
            candidate = self.weighed(self.filled(draft, built), stage.folder, publisher)
            with self.steps.step("judge", "gates"):
                verdicts = publisher.judge(self.ledger.edition(), stage.folder, candidate)
            gates = (*candidate.gates, *({"gate": "edition", **one.to_json()} for one in verdicts))
            return stage.seal(replace(candidate, gates=gates, build=self.cost()))
        except BaseException:
            stage.discard()
            with contextlib.suppress(EngineUnavailable):
                self.sweep()
            raise

    def weighed(self, candidate: Manifest, stage: Path, publisher: Publisher) -> Manifest:
        """The candidate with its own weight of vectors, where its questions are enough to choose one."""
        evals = self.folder.evals_path
        if evals is None or not candidate.counts["chunks"]:
            return candidate
        questions = len(read_suite(evals, self.product.name).retrieval)
        if questions < FEWEST_QUESTIONS:
            return candidate
        with self.steps.step("weigh", "questions"):
            return publisher.weighed(self.ledger.edition(), stage, candidate)

    def builder(self, stage: Path, sources: Sources, generation: str) -> Builder:
        return Builder(
            stage=stage,
            product=self.product,
            sources=sources,
            embedder=self.embedder(),
            parsed=self.home / "cache" / "parsed" / self.product.name,
            notes=self.notes,
            steps=self.steps,
            device=self.settings.device,
            servers=self.servers,
            generation=generation,
            owner=owner_of(self.home) if self.servers.settings.remote else "",
        )

    def draft(self, generation: str, inputs: Sequence[Input], recipe: Mapping[str, Any]) -> Manifest:
        return Manifest(
            product=self.product.name,
            generation=generation,
            created_at=new_manifest_moment(),
            inputs=tuple(inputs),
            recipe=recipe,
            contract_fingerprint=contract_fingerprint(self.folder),
            watermark="",
            counts={},
            engines={},
            gates=(),
            set_aside=(),
            build={},
            files={},
        )

    def filled(self, draft: Manifest, built: Built) -> Manifest:
        return replace(
            draft,
            watermark=built.watermark,
            counts=built.counts,
            engines=built.engines,
            gates=tuple(result.entry() for result in built.checks),
            set_aside=self.notes.left_out,
        )

    def cost(self) -> dict[str, float]:
        return {"seconds": round(time.monotonic() - self.started, 3), "peak_bytes": peak_bytes()}

    def report(
        self, state: State, *, edition: Edition | None = None, failure: Mapping[str, Any] | None = None
    ) -> RunReport:
        manifest = self.manifest
        now = edition or self.ledger.edition()
        return RunReport(
            product=self.product.name,
            state=state,
            generation=manifest.generation if manifest else now.products.get(self.product.name, ""),
            edition=now.number,
            policy_revision=self.ledger.policies().number,
            started_at=self.started_at,
            seconds=round(time.monotonic() - self.started, 3),
            by=self.by,
            counts=manifest.counts if manifest else {},
            reused=self.reused,
            steps=self.steps.seconds,
            peak_bytes=peak_bytes(),
            watermark=manifest.watermark if manifest else "",
            gates=manifest.gates if manifest else (),
            set_aside=manifest.set_aside if manifest else self.notes.left_out,
            warnings=self.notes.warnings,
            failure=failure or {},
            collected=tuple(one.entry() for one in self.collected),
        )


def peak_bytes() -> int:
    """The most memory this process has held, in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
