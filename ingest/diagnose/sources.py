"""The servers that contracts name: each type's check, in one table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from indexes.document_store import DocumentStore
from indexes.live import DOCUMENT_STORES
from ingest.diagnose.clock import clock_of
from ingest.diagnose.finding import Finding, attempt, failed
from ingest.diagnose.postgres import look_at_postgres_source
from ingest.sources.local import find_files
from semantic_layer.environment import filled
from semantic_layer.errors import WellheadError
from semantic_layer.product import DataProduct, Dataset, Server

SourceCheck = Callable[[str, DataProduct, Server, Mapping[str, str]], Iterator[Finding]]
"""Looks at one server under this name of the check: reachable, version, rights, clock. All `${NAME}` are set."""


def look_at_source(product: DataProduct, server: Server, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding about one server of a product's contract."""
    check = f"source {product.name}.{server.name}"
    look = SOURCE_CHECKS.get(server.type)
    if look is None:
        said = f"a server of type {server.type!r} cannot be read."
        yield Finding(check, "fail", said, f"Use one of {', '.join(SOURCE_CHECKS)}.", exit_code=3)
    else:
        yield from look(check, product, server, environment)


def _local(check: str, product: DataProduct, server: Server, environment: Mapping[str, str]) -> Iterator[Finding]:
    yield attempt(check, lambda: _files(product, server, environment))


def _files(product: DataProduct, server: Server, environment: Mapping[str, str]) -> str:
    """How many files its datasets find. Raises SourceFailed naming a dataset that finds none."""
    path = filled(server.path, environment, where=f"server {server.name!r}")
    folder = Path(product.folder) / path.removeprefix("file://")
    held = [dataset for dataset in product.datasets if product.server(dataset.server) == server]
    files = [file for dataset in held for file in find_files(dataset, folder)]
    return f"{len(files):,} files, {sum(file.bytes for file in files) / 2**20:,.1f} MiB"


def _documents(
    check: str, product: DataProduct, server: Server, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """The server's version and clock, then how many documents each dataset finds there."""
    try:
        store = DOCUMENT_STORES[server.type](server, environment)
        with contextlib.closing(store):
            version, clock = store.facts()
            yield Finding(check, "ok", f"{store.name} answers, version {version}")
            if clock is not None:
                yield clock_of(f"clock {product.name}.{server.name}", store.name, clock)
            for dataset in product.datasets:
                if product.server(dataset.server) == server:
                    yield _counted(f"{check}.{dataset.name}", store, dataset)
    except WellheadError as error:
        yield failed(check, error)


def _counted(check: str, store: DocumentStore, dataset: Dataset) -> Finding:
    store.require(dataset)
    count = store.count(dataset)
    if count:
        return Finding(check, "ok", f"{count:,} documents")
    fix = "Check the dataset's physicalName or path, and what its user may read."
    return Finding(check, "warn", f"{store.name} holds no document of {dataset.name!r}", fix)


SOURCE_CHECKS: Mapping[str, SourceCheck] = {
    "local": _local,
    "postgres": look_at_postgres_source,
    **dict.fromkeys(DOCUMENT_STORES, _documents),
}
"""By the contract's server type."""
