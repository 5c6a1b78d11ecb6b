"""Nested documents out of an index that somebody else keeps in Elasticsearch: read whole, and by key while serving."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from indexes.document_store import (
    MOST_DOCUMENTS,
    Deadline,
    StoredDocument,
    place_of,
    server_url,
    too_many,
)
from indexes.elastic.connection import Cluster
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.errors import CorruptGeneration, SourceFailed, WellheadError
from semantic_layer.json_path import path_of, root_of, steps_of
from semantic_layer.predicate import And, Compare, In, Predicate
from semantic_layer.product import Column, ColumnType, Dataset, Server

PORT = 9200
DOCUMENTS_AT_ONCE = 1_000
READ_SECONDS = 30.0
IDENTITY = "_id"
"""The document's own id, as the path `$._id`; it is no part of the document."""

_KEEP_OPEN = "2m"
_WHOLE = frozenset({"long", "integer", "short", "byte", "unsigned_long"})


class ElasticStore:
    """A `DocumentStore` over one cluster. A dataset's `physicalName` is its index or alias.

    All documents are read from one point in time.
    """

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        settings = ElasticsearchSettings(
            url=(f"{parts.scheme}://{host}{parts.path.rstrip('/')}",),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            timeout_seconds=READ_SECONDS,
        )
        self._place = place_of(url)
        self._cluster = Cluster(settings, environment)
        self._lock = threading.Lock()
        self._fields: dict[str, Mapping[str, Any]] = {}

    @classmethod
    def of(cls, server: Server, environment: Mapping[str, str]) -> ElasticStore:
        """The store of a contract's server; see `server_url`."""
        return cls(server_url(server, environment, scheme="http", port=PORT), environment)

    @property
    def name(self) -> str:
        """See DocumentStore."""
        return f"Elasticsearch ({self._place})"

    def require(self, dataset: Dataset) -> None:
        """See DocumentStore; an index can hold every record."""

    def documents(self, dataset: Dataset) -> Iterator[StoredDocument]:
        """See DocumentStore; each document comes once."""
        with self._named(dataset, None):
            opened = self._ask(
                lambda es: es.open_point_in_time(index=_index(dataset), keep_alive=_KEEP_OPEN), None
            )
            after: list[Any] | None = None
            try:
                while hits := self._page(opened["id"], after, dataset):
                    for hit in hits:
                        yield _stored(hit)
                    after = hits[-1]["sort"]
            finally:
                with contextlib.suppress(WellheadError):
                    self._ask(lambda es: es.close_point_in_time(id=opened["id"]), None)

    def candidates(self, dataset: Dataset, where: Predicate, deadline: Deadline) -> Iterator[StoredDocument]:
        """See DocumentStore. Equality is asked of the index where its mapping says that it holds the value as it is."""
        with self._named(dataset, deadline):
            asked = _narrowed(where, dataset, self._mapping(dataset, deadline))
            query: dict[str, Any] = {"bool": {"filter": asked}} if asked else {"match_all": {}}
            body = {"query": query, "size": MOST_DOCUMENTS, "track_total_hits": MOST_DOCUMENTS + 1}
            found = self._ask(
                lambda es: es.search(index=_index(dataset), **body, source=_roots(dataset)), deadline
            )
        if found["hits"]["total"]["value"] > MOST_DOCUMENTS:
            raise too_many(dataset)
        for hit in found["hits"]["hits"]:
            yield _stored(hit)

    def facts(self) -> tuple[str, datetime | None]:
        """See DocumentStore; Elasticsearch does not tell the time."""
        return self._cluster.version(), None

    def count(self, dataset: Dataset) -> int:
        """See DocumentStore."""
        with self._named(dataset, None):
            return int(self._ask(lambda es: es.count(index=_index(dataset)), None)["count"])

    def close(self) -> None:
        """See DocumentStore."""
        self._cluster.close()

    def _ask(self, call: Any, deadline: Deadline | None) -> Any:
        return self._cluster.ask(call, seconds=deadline.left() if deadline else READ_SECONDS)

    def _page(self, point: str, after: list[Any] | None, dataset: Dataset) -> list[Any]:
        more = {"search_after": after} if after is not None else {}
        pit = {"id": point, "keep_alive": _KEEP_OPEN}
        found = self._ask(
            lambda es: es.search(
                pit=pit, size=DOCUMENTS_AT_ONCE, sort=[{"_shard_doc": "asc"}], source=_roots(dataset), **more
            ),
            None,
        )
        return found["hits"]["hits"]

    def _mapping(self, dataset: Dataset, deadline: Deadline) -> Mapping[str, Any]:
        """Each field's mapping by its dotted name, read once a dataset; none where several indices stand behind."""
        index = _index(dataset)
        with self._lock:
            known = self._fields.get(index)
        if known is None:
            held = self._ask(lambda es: es.indices.get_mapping(index=index), deadline).body
            known = dict(_leaves(next(iter(held.values()))["mappings"], "")) if len(held) == 1 else {}
            with self._lock:
                self._fields[index] = known
        return known

    @contextlib.contextmanager
    def _named(self, dataset: Dataset, deadline: Deadline | None) -> Generator[None]:
        """The cluster's errors as those of a source: an index that is gone is no damaged generation."""
        try:
            yield
        except CorruptGeneration as error:
            raise SourceFailed(
                f"{self.name} has no index {_index(dataset)!r} for {dataset.name!r}.", hint="Mend `physicalName`."
            ) from error
        except WellheadError:
            if deadline is not None:
                deadline.left()
            raise


def _index(dataset: Dataset) -> str:
    return dataset.physical_name or dataset.name


def _roots(dataset: Dataset) -> list[str]:
    return [root_of(path_of(column)) for column in dataset.columns]


def _stored(hit: Mapping[str, Any]) -> StoredDocument:
    return StoredDocument(f"{hit['_index']}/{hit['_id']}", {**hit["_source"], IDENTITY: hit["_id"]})


def _leaves(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in mapping.get("properties", {}).items():
        if "properties" not in field:
            yield prefix + name, field
        elif field.get("type", "object") == "object":
            yield from _leaves(field, f"{prefix}{name}.")


def _narrowed(where: Predicate, dataset: Dataset, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Filters that every document passes whose row makes `where` TRUE."""
    columns = {column.name: column for column in dataset.columns}
    asked: list[dict[str, Any]] = []
    for part in where.parts if isinstance(where, And) else (where,):
        if not isinstance(part, (Compare, In)) or (isinstance(part, Compare) and part.operator != "eq"):
            continue
        values = [part.value] if isinstance(part, Compare) else list(part.values)
        name = ".".join(step for step in _steps(columns[part.field]) if step is not None)
        if name == IDENTITY:
            asked.append({"ids": {"values": [str(value) for value in values]}})
        elif _holds(fields.get(name, {}), columns[part.field]):
            asked.append({"terms": {name: values}})
    return asked


def _steps(column: Column) -> tuple[str | None, ...]:
    return steps_of(column.name, path_of(column))


def _holds(field: Mapping[str, Any], column: Column) -> bool:
    """Whether the index finds every value of this field as the column has it: as it is, and however long."""
    kind = (column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type
    if field.get("index") is False:
        return False
    if kind is ColumnType.INTEGER:
        return field.get("type") in _WHOLE and not field.get("ignore_malformed")
    whole = "ignore_above" not in field and "normalizer" not in field
    return kind is ColumnType.STRING and field.get("type") == "keyword" and whole
