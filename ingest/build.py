"""Builds a candidate generation in its stage: rows and documents, the contract's checks, chunks and indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indexes.device import Device
from indexes.document import Chunk
from indexes.duck.carried import carried_rows
from indexes.duck.table_builder import TableBuilder
from indexes.elastic.index import Site
from indexes.embedder import OnnxEmbedder
from indexes.engines import build_tables
from indexes.postgres.vectors import VectorSite
from indexes.servers import Servers
from ingest.check import CheckResult
from ingest.checks import require, run_checks, warnings_of
from ingest.documents import DocumentReader, parsing_recipe
from ingest.notes import Notes
from ingest.parsed_cache import ParsedCache, ParsedFile
from ingest.progress import Advance, Steps
from ingest.row_loader import RowLoader
from ingest.row_texts import row_texts
from ingest.search_indexes import build_search_indexes
from ingest.sources.opened import Sources
from ingest.watermark import watermark_of
from semantic_layer.product import DataProduct, Dataset

_DOCUMENTS_AT_ONCE = 256


@dataclass(frozen=True)
class Built:
    """What lies in the stage: counts, each engine's facts, the checks' results, and what the caches spared."""

    counts: Mapping[str, int]
    engines: Mapping[str, Mapping[str, Any]]
    checks: tuple[CheckResult, ...]
    watermark: str
    reused: Mapping[str, int]


@dataclass
class Builder:
    """Builds one product into a stage's folder. `embedder` is None where the product has no text.

    `servers` say which engines hold what is searched; those on a server are told the `generation` and its `owner`.

    Peak memory is bounded by batches of rows, files and chunks.
    """

    stage: Path
    product: DataProduct
    sources: Sources
    embedder: OnnxEmbedder | None
    parsed: Path
    notes: Notes
    steps: Steps
    device: Device = "auto"
    servers: Servers = field(default_factory=Servers)
    generation: str = ""
    owner: str = ""
    _chunks: int = 0

    def build(self) -> Built:
        """Build everything; the contract is checked before embedding, which costs most.

        Raises SourceFailed, GateFailed, OutOfSpace, EngineUnavailable; the stage is of no use then.
        """
        tables = build_tables(self.stage, self.product)
        try:
            return self._build(tables)
        finally:
            tables.close()

    def _build(self, tables: TableBuilder) -> Built:
        rows = self._add_rows(tables)
        reused = self._add_documents(tables)
        checks = self._check(tables, rows)
        self._add_row_texts(tables)
        engines = self._index(tables)
        watermark = watermark_of(tables, self.product)
        with self.steps.step("seal", "tables"):
            counts = tables.seal()
        total = sum(count for name, count in counts.items() if name.startswith("rows:"))
        return Built({**counts, "rows": total}, engines, tuple(checks), watermark, reused)

    def _add_rows(self, tables: TableBuilder) -> RowLoader:
        with self.steps.step("read", "rows") as advance:
            loader = RowLoader(tables, self.notes, advance)
            for dataset in self.product.datasets:
                if dataset.kind != "document":
                    loader.load(dataset, self.sources.groups(dataset, self.notes.warn))
        return loader

    def _add_documents(self, tables: TableBuilder) -> dict[str, int]:
        datasets = [dataset for dataset in self.product.datasets if dataset.kind == "document"]
        if not datasets or self.embedder is None:
            return {}
        cache = ParsedCache(self.parsed, parsing_recipe(self.product.name, self.embedder))
        reader = DocumentReader(self.product.name, self.sources, self.embedder, cache, self.notes)
        total = sum(len(self.sources.files(dataset)) for dataset in datasets)
        with self.steps.step("parse", "files", total) as advance:
            for dataset in datasets:
                self._add_files(tables, dataset, reader, advance)
        cache.prune()
        return {"files": reader.reused}

    def _add_files(self, tables: TableBuilder, dataset: Dataset, reader: DocumentReader, advance: Advance) -> None:
        batch: list[ParsedFile] = []
        for parsed in reader.read(dataset):
            batch.append(parsed)
            advance(1)
            if len(batch) == _DOCUMENTS_AT_ONCE:
                self._add_batch(tables, dataset, batch)
                batch = []
        if batch:
            self._add_batch(tables, dataset, batch)

    def _add_batch(self, tables: TableBuilder, dataset: Dataset, batch: Sequence[ParsedFile]) -> None:
        tables.add_documents(dataset, [parsed.document for parsed in batch])
        carried = [(chunk, parsed.document.columns) for parsed in batch for chunk in parsed.chunks]
        self._add_chunks(tables, carried)

    def _add_chunks(self, tables: TableBuilder, carried: Sequence[tuple[Chunk, Mapping[str, Any]]]) -> None:
        numbered = [replace(chunk, number=number) for number, (chunk, _) in enumerate(carried, self._chunks)]
        tables.add_chunks(numbered, [columns for _, columns in carried])
        self._chunks += len(numbered)

    def _check(self, tables: TableBuilder, rows: RowLoader) -> list[CheckResult]:
        with self.steps.step("check", "promises"):
            results = run_checks(tables, self.product, rows.name_row)
        for warning in warnings_of(results):
            self.notes.warn(warning)
        require(self.product, results)
        return results

    def _add_row_texts(self, tables: TableBuilder) -> None:
        datasets = [one for one in self.product.datasets if one.kind != "document" and one.text_columns]
        if not datasets or self.embedder is None:
            return
        with self.steps.step("chunk", "rows") as advance:
            for dataset in datasets:
                for batch in row_texts(tables, self.product.name, dataset, self.embedder):
                    tables.add_documents(dataset, [document for document, _ in batch])
                    carried = [(chunk, document.columns) for document, chunks in batch for chunk in chunks]
                    self._add_chunks(tables, carried)
                    advance(len(batch))

    def _index(self, tables: TableBuilder) -> dict[str, Mapping[str, Any]]:
        if not self._chunks or self.embedder is None:
            return {}
        with self.steps.step("embed", "chunks", self._chunks) as advance:
            return build_search_indexes(
                self.stage,
                self.product,
                tables,
                self.embedder,
                device=self.device,
                advance=advance,
                engines=self.servers.settings,
                site=self._site(tables),
                database=self._database(),
            )

    def _database(self) -> VectorSite | None:
        """Where pgvector builds; None where another engine holds the vectors."""
        asked = self.servers.settings.vectors == "pgvector"
        owner = f"{self.owner}/{self.product.name}"
        return self.servers.vector_site(owner, self.generation) if asked else None

    def _site(self, tables: TableBuilder) -> Site | None:
        """Where an engine on a server builds; None where every engine builds into the stage."""
        settings = self.servers.settings
        if "elasticsearch" not in (settings.text, settings.vectors):
            return None
        carried = carried_rows(tables, self.product)
        return Site(self.servers.elasticsearch(), self.product, self.generation, self.owner, carried)
