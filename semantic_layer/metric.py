"""The one internal metric model, which every kind of semantic file is read into.

SQL in it is canonical: DuckDB's dialect, every name quoted, every column written `"dataset"."column"`. It was
parsed through an allow-list at load, so nothing here is text that a caller could have brought.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.product import ColumnType


class Grain(StrEnum):
    """How finely time is cut; a week begins on Monday, fiscal ones follow the model's fiscal calendar."""

    NANOSECOND = "nanosecond"
    MICROSECOND = "microsecond"
    MILLISECOND = "millisecond"
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    FISCAL_QUARTER = "fiscal_quarter"
    FISCAL_YEAR = "fiscal_year"

    @property
    def sub_day(self) -> bool:
        """Whether the grain is finer than a day, so that its periods are instants and not dates."""
        return tuple(Grain).index(self) < tuple(Grain).index(Grain.DAY)

    @property
    def fiscal(self) -> bool:
        """Whether the grain needs a fiscal calendar."""
        return self in (Grain.FISCAL_QUARTER, Grain.FISCAL_YEAR)


class Aggregation(StrEnum):
    """How rows become one number. NULL values are left out; a percentile is exact."""

    SUM = "sum"
    COUNT = "count"
    COUNT_DISTINCT = "count_distinct"
    MIN = "min"
    MAX = "max"
    AVERAGE = "average"
    MEDIAN = "median"
    PERCENTILE = "percentile"


@dataclass(frozen=True)
class NonAdditive:
    """A measure that must not be summed over `time`: only the rows of its last (max) or first (min) moment count.

    The moment is found a period of the queried time grain and a value of `groupings` (names of dimensions).
    """

    time: str
    choice: Literal["max", "min"] = "max"
    groupings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """An aggregate over the rows of one dataset: its own grain. `columns` are (dataset, column) pairs it reads.

    `root` is set where a metric's formula spans datasets: the rows of `dataset` that count are those which rows of
    `root` belong to, each once. `default_time` is "dataset.dimension", or empty for the dataset's own.
    """

    name: str
    dataset: str
    aggregation: Aggregation
    expression: str
    columns: frozenset[tuple[str, str]]
    percentile: float = 0.5
    discrete: bool = False
    root: str = ""
    default_time: str = ""
    non_additive: NonAdditive | None = None
    description: str = ""
    line: int = 0


@dataclass(frozen=True)
class Dimension:
    """A value of each row to group and filter by. `type` is None where the files do not say and none can be told.

    `columns` are the physical columns of its dataset that it reads; `grain` is how fine a time dimension is kept.
    A `fact` serves the filters of metrics only, and is no dimension of a query. `entity` names the thing whose key
    the values are: the same entity's keys are the same value in every dataset.
    """

    name: str
    expression: str
    columns: frozenset[str]
    type: ColumnType | None = None
    is_time: bool = False
    fact: bool = False
    entity: str = ""
    grain: Grain | None = None
    label: str = ""
    description: str = ""
    synonyms: tuple[str, ...] = ()
    unit: str = ""
    line: int = 0

    @property
    def truncatable(self) -> bool:
        """Whether it can be cut to a grain."""
        return self.is_time and self.type in (ColumnType.DATE, ColumnType.TIMESTAMP)


@dataclass(frozen=True)
class SemanticDataset:
    """A table with a meaning. `product` and `table` say which data it reads; `key` are physical columns.

    `validity` names the (start, end) dimensions of rows that hold for a time only.
    """

    name: str
    product: str
    table: str
    dimensions: tuple[Dimension, ...] = ()
    measures: tuple[Measure, ...] = ()
    key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    default_time: str = ""
    primary_entity: str = ""
    validity: tuple[str, str] | None = None
    description: str = ""
    synonyms: tuple[str, ...] = ()
    line: int = 0

    def dimension(self, name: str) -> Dimension | None:
        """The dimension of that name, or None."""
        return next((dimension for dimension in self.dimensions if dimension.name == name), None)

    def measure(self, name: str) -> Measure | None:
        """The measure of that name, or None."""
        return next((measure for measure in self.measures if measure.name == name), None)


@dataclass(frozen=True)
class Relationship:
    """Many rows of one dataset belong to at most one row of another.

    A dataset is named as in the model, or `product.dataset` in another product. The keys are canonical SQL over
    the dataset of their side, in the same order.
    """

    name: str
    from_dataset: str
    to_dataset: str
    from_keys: tuple[str, ...]
    to_keys: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Offset:
    """A shift to an earlier period: `count` periods of `grain`, or to the period's own beginning (`to_grain`)."""

    grain: Grain
    count: int = 0
    to_grain: bool = False


@dataclass(frozen=True)
class MetricInput:
    """What a metric computes with, under a name of its own: another metric, or a measure.

    `filter` is ANDed to everything below. `join_to_timespine` gives every period a row, and `fill_nulls_with`
    replaces the NULL of one without facts.
    """

    alias: str
    metric: str = ""
    measure: Measure | None = None
    filter: Predicate = TRUE
    offset: Offset | None = None
    fill_nulls_with: int | None = None
    join_to_timespine: bool = False


@dataclass(frozen=True)
class Certification:
    """Who stands behind a metric. `proposed` until a named person certifies it."""

    state: Literal["proposed", "certified"] = "proposed"
    by: str = ""
    at: str = ""


MetricKind = Literal["simple", "ratio", "derived", "cumulative", "conversion"]


@dataclass(frozen=True)
class Metric:
    """A number with a name.

    simple: its one input, a measure · ratio: `expression` divides two inputs · derived: `expression` over inputs ·
    cumulative and conversion: their parameters stay in `parameters`. `filter` names fields as "dataset.field" or
    as a query does; `formula` is the expression as its author wrote it. `unsupported` says why a metric that was
    read cannot be computed yet; it is refused by that name.
    """

    name: str
    kind: MetricKind
    inputs: tuple[MetricInput, ...]
    expression: str = ""
    filter: Predicate = TRUE
    label: str = ""
    description: str = ""
    synonyms: tuple[str, ...] = ()
    unit: str = ""
    owner: str = ""
    certification: Certification = Certification()
    formula: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unsupported: str = ""
    line: int = 0

    @property
    def certified(self) -> bool:
        """Whether it runs with its owner's column rights."""
        return self.certification.state == "certified"


@dataclass(frozen=True)
class SavedQuery:
    """A question kept under a name, in the form `MetricQuery.from_json` reads."""

    name: str
    query: Mapping[str, Any]
    description: str = ""
    unsupported: str = ""
    line: int = 0


@dataclass(frozen=True)
class SemanticModel:
    """What one product's numbers mean. `time_zone` is where its days begin; empty where the model does not say.

    `fiscal_year_start_month` is 0 where the model declares no fiscal calendar.
    """

    product: str
    name: str = ""
    datasets: tuple[SemanticDataset, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    metrics: tuple[Metric, ...] = ()
    saved_queries: tuple[SavedQuery, ...] = ()
    time_zone: str = ""
    fiscal_year_start_month: int = 0
    description: str = ""
    instructions: str = ""
    file: str = ""

    def dataset(self, name: str) -> SemanticDataset | None:
        """The dataset of that name, or None."""
        return next((dataset for dataset in self.datasets if dataset.name == name), None)

    def metric(self, name: str) -> Metric | None:
        """The metric of that name, or None."""
        return next((metric for metric in self.metrics if metric.name == name), None)

    def saved_query(self, name: str) -> SavedQuery | None:
        """The saved query of that name, or None."""
        return next((query for query in self.saved_queries if query.name == name), None)

    def measures_of(self, metric: Metric) -> Iterator[Measure]:
        """Every measure below a metric, in the order of its formula. The metrics it names must exist."""
        for given in metric.inputs:
            if given.measure is not None:
                yield given.measure
            elif (below := self.metric(given.metric)) is not None:
                yield from self.measures_of(below)
