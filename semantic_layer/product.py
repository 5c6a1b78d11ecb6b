"""A data product: its datasets and columns, owners, promises and where the data lives, as its contract says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

SENSITIVE = frozenset({"personal", "pii", "restricted", "confidential", "sensitive"})
"""Classifications whose columns are never searched, sampled or filterable by default."""


class ColumnType(StrEnum):
    """The logical types of ODCS (`logicalType`), plus an exact `decimal` where `physicalType` names one."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    OBJECT = "object"
    ARRAY = "array"


DatasetKind = Literal["table", "document", "record"]


@dataclass(frozen=True)
class Column:
    """One property of a dataset. `items` is the element type of an array; `path` a JSON path for records.

    `physical_name` is its name at the source where that differs. `precision`/`scale` belong to decimals. The
    bounds `minimum` and `maximum` are numbers, or ISO text for dates and times. `format` is ODCS's: `email`,
    `uuid` … for strings, a JDK pattern such as `dd.MM.yyyy` for dates. `line` is where the contract declares it.
    """

    name: str
    type: ColumnType
    items: ColumnType | None = None
    physical_name: str = ""
    physical_type: str = ""
    precision: int = 18
    scale: int = 2
    title: str = ""
    description: str = ""
    synonyms: tuple[str, ...] = ()
    classification: str = ""
    tags: frozenset[str] = frozenset()
    unit: str = ""
    required: bool = False
    unique: bool = False
    key_position: int = 0
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    format: str = ""
    minimum: float | str | None = None
    maximum: float | str | None = None
    minimum_excluded: bool = False
    maximum_excluded: bool = False
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    time_zone: str = ""
    examples: tuple[Any, ...] = ()
    path: str = ""
    is_text: bool = False
    is_title: bool = False
    filterable: bool = True
    line: int = 0

    @property
    def sensitive(self) -> bool:
        """Whether the classification marks personal or restricted data."""
        return self.classification.casefold() in SENSITIVE

    @property
    def source_name(self) -> str:
        """The column's name where the data comes from."""
        return self.physical_name or self.name

    @property
    def scalar(self) -> bool:
        """Whether one value, not an object or an array of objects, stands in a cell."""
        return self.type is not ColumnType.OBJECT and self.items is not ColumnType.OBJECT

    @property
    def carried(self) -> bool:
        """Whether each chunk carries its value, so that a policy can filter by it: no texts, no objects."""
        return self.scalar and not self.is_text


@dataclass(frozen=True)
class Reference:
    """A foreign key as ODCS `relationships` declares it; `to_dataset` may be `product.dataset`.

    Rows without a partner stop the build only where `severity` is error: orphans are common, metrics keep them.
    """

    columns: tuple[str, ...]
    to_dataset: str
    to_columns: tuple[str, ...]
    severity: Literal["error", "warning"] = "warning"
    line: int = 0


@dataclass(frozen=True)
class QualityRule:
    """One ODCS quality rule: a library `metric` or a `query`, an operator such as mustBe, and its bound.

    `severity` error stops the build, warning is only reported. `column` is empty for dataset rules.
    """

    name: str
    metric: str
    operator: str
    bound: Any
    column: str = ""
    query: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unit: str = "rows"
    severity: Literal["error", "warning"] = "error"
    dimension: str = ""
    description: str = ""
    line: int = 0


@dataclass(frozen=True)
class Dataset:
    """One object of the contract's schema: a table, a set of documents, or a set of nested records.

    `query` is the SELECT that stands for a table at its server; `cursor` the column that changes with every change
    of a row, so that an ingest reads only what changed.
    """

    name: str
    kind: DatasetKind
    columns: tuple[Column, ...]
    physical_name: str = ""
    title: str = ""
    description: str = ""
    synonyms: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    granularity: str = ""
    server: str = ""
    path: str = ""
    query: str = ""
    cursor: str = ""
    on_error: Literal["stop", "set_aside"] = "stop"
    live: bool = False
    deprecated: str = ""
    language: str = "en"
    token_vectors: bool = False
    references: tuple[Reference, ...] = ()
    quality: tuple[QualityRule, ...] = ()
    line: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns in order; empty when the contract declares none."""
        keyed = [column for column in self.columns if column.key_position > 0]
        return tuple(column.name for column in sorted(keyed, key=lambda column: column.key_position))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns whose text is chunked and searched."""
        return tuple(column.name for column in self.columns if column.is_text)

    @property
    def filterable_columns(self) -> tuple[str, ...]:
        """The columns that a chunk or row carries for filters and policies."""
        return tuple(column.name for column in self.columns if column.filterable)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Server:
    """Where data lives (ODCS `servers`). `options` keeps every other key, with `${NAME}` not yet filled in."""

    name: str
    type: str
    path: str = ""
    format: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    line: int = 0


SERVER_TYPES = ("local", "postgres", "redis", "mongodb", "elasticsearch")
"""The types of servers that an ingest reads; a contract may name others for other readers."""


@dataclass(frozen=True)
class ServiceLevel:
    """One ODCS SLA property, e.g. latency 1 d on element `orders.ordered_at`."""

    property: str
    value: Any
    unit: str = ""
    element: str = ""


@dataclass(frozen=True)
class DataProduct:
    """Governed data under one contract, one owner and one policy. `folder` is where its files were read.

    `audit_arguments` allows the audit log to keep what callers asked it, not only a digest.
    """

    name: str
    version: str
    contract_id: str
    status: str
    contract_version: str
    title: str = ""
    purpose: str = ""
    usage: str = ""
    limitations: str = ""
    domain: str = ""
    owner: str = ""
    tags: frozenset[str] = frozenset()
    synonyms: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    servers: tuple[Server, ...] = ()
    service_levels: tuple[ServiceLevel, ...] = ()
    folder: str = ""
    audit_arguments: bool = False

    def dataset(self, name: str) -> Dataset | None:
        """The dataset of that name, or None."""
        return next((dataset for dataset in self.datasets if dataset.name == name), None)

    def server(self, name: str) -> Server | None:
        """The server of that name; without a name, the only or first one; or None."""
        if not name:
            return self.servers[0] if self.servers else None
        return next((server for server in self.servers if server.name == name), None)
