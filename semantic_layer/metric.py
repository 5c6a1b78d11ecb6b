"""The one internal metric model, which every kind of semantic file is read into.

SQL in it is canonical: DuckDB's dialect, every name quoted, every column written `"dataset"."column"`. It was
parsed through an allow-list at load, so nothing here is text that a caller could have brought. `kept` is what a
file says beyond the model (unknown keys, other vendors' extensions), so that writing the file again loses nothing.
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
    """How rows become one number. NULL values are left out; a percentile is exact unless its measure says otherwise."""

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

    `approximate` lets an engine estimate a continuous percentile where it can. `root` is set where a metric's formula
    spans datasets: the rows of `dataset` that count are those which rows of `root` belong to, each once.
    `default_time` is "dataset.dimension", or empty for the dataset's own.
    """

    name: str
    dataset: str
    aggregation: Aggregation
    expression: str
    columns: frozenset[tuple[str, str]]
    percentile: float = 0.5
    discrete: bool = False
    approximate: bool = False
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
    the values are: the same entity's keys are the same value in every dataset. `unique` says that no two rows share
    one, also where it is computed.
    """

    name: str
    expression: str
    columns: frozenset[str]
    type: ColumnType | None = None
    is_time: bool = False
    fact: bool = False
    entity: str = ""
    unique: bool = False
    grain: Grain | None = None
    label: str = ""
    description: str = ""
    synonyms: tuple[str, ...] = ()
    unit: str = ""
    line: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    @property
    def truncatable(self) -> bool:
        """Whether it can be cut to a grain."""
        return self.is_time and self.type in (ColumnType.DATE, ColumnType.TIMESTAMP)


@dataclass(frozen=True)
class SemanticDataset:
    """A table with a meaning. `product` and `table` say which data it reads; `key` are physical columns.

    `validity` names the (start, end) dimensions of rows that hold for a time only; `partitions` the dimensions whose
    every value is a whole copy of the rows, so that keys are unique within one only.
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
    partitions: tuple[str, ...] = ()
    description: str = ""
    synonyms: tuple[str, ...] = ()
    line: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def dimension(self, name: str) -> Dimension | None:
        """The dimension of that name, or None."""
        return next((dimension for dimension in self.dimensions if dimension.name == name), None)

    @property
    def names(self) -> frozenset[str]:
        """What a query may call its own rows by: the dataset, or an entity whose key never repeats in it."""
        keys = {frozenset(key) for key in (self.key, *self.unique_keys) if key}
        entities = frozenset(
            one.entity for one in self.dimensions if one.entity and (one.unique or one.columns in keys)
        )
        return (entities | {self.name, self.primary_entity}) - {""}

    def measure(self, name: str) -> Measure | None:
        """The measure of that name, or None."""
        return next((measure for measure in self.measures if measure.name == name), None)


@dataclass(frozen=True)
class Relationship:
    """Many rows of one dataset belong to at most one row of another.

    A dataset is named as in the model, or `product.dataset` in another product. The keys are canonical SQL over
    the dataset of their side, in the same order. `partitions` are those of the one side that the many side has not:
    the hop is taken only on ways with a dataset that has them, whose partition is then the one meant.
    """

    name: str
    from_dataset: str
    to_dataset: str
    from_keys: tuple[str, ...]
    to_keys: tuple[str, ...]
    partitions: tuple[str, ...] = ()
    line: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


@dataclass(frozen=True)
class CustomGrain:
    """A period of a company's own calendar: `column` of the spine's table says which one each of its rows is in."""

    name: str
    column: str


@dataclass(frozen=True)
class TimeSpine:
    """A table with one row for each period of `grain`, beginning at `column`, whether there are facts in it or not.

    Cumulative metrics, offsets and empty periods are joined to it. Days and coarser are days of the reporting zone's
    calendar, finer ones instants in UTC.
    """

    product: str
    table: str
    column: str
    grain: Grain
    custom_grains: tuple[CustomGrain, ...] = ()


@dataclass(frozen=True)
class Offset:
    """A shift to an earlier period: `count` periods of `grain`, or to the period's own beginning (`to_grain`).

    With `custom`, the name of a custom grain, `count` is of its periods and `grain` is its time spine's.
    """

    grain: Grain
    count: int = 0
    to_grain: bool = False
    custom: str = ""


@dataclass(frozen=True)
class Window:
    """A length of time: `count` periods of `grain`."""

    count: int
    grain: Grain


@dataclass(frozen=True)
class Cumulative:
    """What a cumulative metric adds up at a moment: all before it, the `window` up to it, or the period to date.

    Asked for by a coarser grain than it is kept at, a period shows its first or last value, or their average.
    `leaves_out_current` keeps the current period itself out of the window, as Databricks' trailing windows do. Asked
    for without a time, all before it is the total over all rows and a window or period is refused; with `needs_time` so
    is the total, since it would be the last period's value to whoever wrote it.
    """

    window: Window | None = None
    grain_to_date: Grain | None = None
    period_aggregation: Literal["first", "last", "average"] = "first"
    leaves_out_current: bool = False
    needs_time: bool = False


@dataclass(frozen=True)
class Conversion:
    """How the events of a conversion metric meet: its inputs are `base`, the opportunities, and `conversion`.

    Each conversion belongs to the last opportunity of the same `entity` before it, no longer before than `window`, and
    with equal `constant_properties`, pairs of a dimension or entity of the base and one of the conversion.
    """

    entity: str
    calculation: Literal["conversion_rate", "conversions"] = "conversion_rate"
    window: Window | None = None
    constant_properties: tuple[tuple[str, str], ...] = ()


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
    """Who stands behind a metric, at the exact content that `sha256` names. `proposed` until a person certifies it."""

    state: Literal["proposed", "certified"] = "proposed"
    by: str = ""
    at: str = ""
    sha256: str = ""


MetricKind = Literal["simple", "ratio", "derived", "cumulative", "conversion"]


@dataclass(frozen=True)
class Metric:
    """A number with a name.

    simple: its one input, a measure · ratio: `expression` divides two inputs · derived: `expression` over inputs ·
    cumulative: one input, a measure or a simple metric, and `cumulative` · conversion: two, and `conversion`.
    `filter` names fields as "dataset.field" or as a query does; `bookings by listing` is the value of the metric
    bookings for the row's listing. `default_grain` names the grain of `metric_time` where a query does not, empty for
    the finest. `formula` is the expression as its author wrote it; `parameters` what else the file says of it.
    `unsupported` says why a metric that was read cannot be computed; it is refused by that name.
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
    cumulative: Cumulative | None = None
    conversion: Conversion | None = None
    default_grain: str = ""
    unsupported: str = ""
    line: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

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
    time_spines: tuple[TimeSpine, ...] = ()
    time_zone: str = ""
    fiscal_year_start_month: int = 0
    description: str = ""
    instructions: str = ""
    file: str = ""
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

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


def quoted(*parts: str) -> str:
    """A name of several parts as canonical SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
