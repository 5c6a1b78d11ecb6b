"""The files of a document dataset, parsed and chunked, each at most once for the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from indexes.document import Document
from indexes.duck.columns import BadCell, arrow_array, expected
from indexes.ports import Embedder
from ingest.chunk import CHUNKER_VERSION, chunk_document
from ingest.notes import Notes
from ingest.parse.document import PARSER_VERSION, parse_document
from ingest.parsed_cache import ParsedCache, ParsedFile
from ingest.sources.local import SourceFile
from ingest.sources.opened import Sources
from semantic_layer.errors import SourceFailed
from semantic_layer.json_path import flatten
from semantic_layer.product import Dataset


def parsing_recipe(product: str, embedder: Embedder) -> dict[str, Any]:
    """What decides a file's chunks beside its bytes; the tokenizer counts as the model's."""
    return {
        "product": product,
        "parser": PARSER_VERSION,
        "chunker": CHUNKER_VERSION,
        "tokens": {key: embedder.identity[key] for key in ("model", "max_tokens", "prefix")},
    }


@dataclass
class DocumentReader:
    """Reads the files of one product's document datasets. `reused` counts files found in the cache."""

    product: str
    sources: Sources
    embedder: Embedder
    cache: ParsedCache
    notes: Notes
    reused: int = 0
    _noted: set[str] = field(default_factory=set[str])

    def read(self, dataset: Dataset) -> Iterator[ParsedFile]:
        """Each file with the contract's columns, sorted by name.

        A file that cannot be read stops the run with its own reason, or is noted and left out where the
        contract says `on_error: set_aside`.
        """
        for file in self.sources.files(dataset):
            try:
                parsed = self._parsed(dataset, file)
                columns = self._columns(dataset, file, parsed.document)
            except SourceFailed as failure:
                if dataset.on_error == "stop":
                    raise
                self.notes.set_aside(dataset.name, file.name, f"{failure.message} {failure.hint}".strip())
                continue
            for warning in parsed.document.warnings:
                self.notes.warn(f"{file.name}: {warning}")
            yield replace(parsed, document=replace(parsed.document, columns=columns))

    def _parsed(self, dataset: Dataset, file: SourceFile) -> ParsedFile:
        digest = self.sources.digest(dataset, file)
        encoding = self.sources.encoding(dataset)
        key = f"{digest} {encoding or ''}"
        found = self.cache.get(dataset.name, file.name, key)
        if found is not None:
            self.reused += 1
            return found
        document = parse_document(file.path, dataset.name, file.name, encoding=encoding)
        if document.sha256 != digest:
            raise SourceFailed(f"{file.path} changed while it was read.", hint="Run the same command again.")
        chunks = chunk_document(document, self.product, self.embedder.count_tokens, self.embedder.max_tokens)
        parsed = ParsedFile(document, tuple(chunks))
        self.cache.put(key, parsed)
        return parsed

    def _columns(self, dataset: Dataset, file: SourceFile, document: Document) -> dict[str, Any]:
        """The contract's columns from the file and its front matter; each value must fit its type."""
        held = dict(document.columns)
        held["modified_at"] = datetime.fromtimestamp(file.modified_ns / 1e9, UTC)
        paths = {one.name: one.path for one in dataset.columns if one.path}
        row = {one.name: held.get(one.physical_name or one.name) for one in dataset.columns}
        row |= flatten(held, paths)
        for column in dataset.columns:
            _, misfits = arrow_array(column, [row[column.name]])
            if misfits:
                cell = BadCell(file.name, 1, column.name, misfits[0], expected(column))
                raise SourceFailed(
                    f"{file.path}: {column.name!r} is {cell.value!r}, not {cell.expected}.",
                    hint="Mend the file's front matter, or the contract.",
                )
        self._note_unknown(dataset, file, document.columns)
        return row

    def _note_unknown(self, dataset: Dataset, file: SourceFile, held: Mapping[str, Any]) -> None:
        known = {one.physical_name or one.name for one in dataset.columns}
        known |= {one.path.removeprefix("$").strip(".").split(".")[0] for one in dataset.columns if one.path}
        for name in held.keys() - known - self._noted:
            self._noted.add(name)
            self.notes.warn(
                f"{file.name}: front matter {name!r} is not in the contract of {dataset.name!r} and is not sealed"
            )
