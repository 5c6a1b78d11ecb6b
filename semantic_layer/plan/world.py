"""All models, products and grants of one question, and the ways from one dataset to another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from semantic_layer.errors import Refused, UnknownName
from semantic_layer.metric import (
    Dimension,
    Grain,
    Metric,
    Relationship,
    SemanticDataset,
    SemanticModel,
    TimeSpine,
    quoted,
)
from semantic_layer.plan.cut import Calendar, calendars, coarseness
from semantic_layer.policy import DatasetGrant, Grants
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.product import Column, ColumnType, DataProduct

MAX_HOPS = 5

Keep = Callable[[str, str], Predicate]
"""The rows of a product's dataset that tombstones leave; TRUE where nothing was erased."""


def keep_all(product: str, dataset: str) -> Predicate:
    """No tombstones."""
    del product, dataset
    return TRUE


@dataclass(frozen=True)
class Place:
    """A semantic dataset and the product whose model holds it (its data may lie in another)."""

    home: str
    dataset: SemanticDataset

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other dataset."""
        return self.home, self.dataset.name

    @property
    def table(self) -> tuple[str, str]:
        """The product and table that it reads."""
        return self.dataset.product, self.dataset.table


@dataclass(frozen=True)
class Step:
    """One hop along a relationship, from its many side to its one side, or `many`: the other way.

    A hop with `copies` leads to every copy of a row in a partitioned dataset; it is taken only where the way has none
    of these partitions to choose one by.
    """

    relationship: Relationship
    start: Place
    end: Place
    many: bool
    copies: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """What a query may call this hop by: the relationship, the dataset it leads to, or that one's entity."""
        end = self.end.dataset
        return frozenset({self.relationship.name, end.name, end.primary_entity}) - {""}


Path = tuple[Step, ...]


@dataclass
class World:
    """Looks names up. What the caller may not discover is not found; see `discoverable`."""

    models: Mapping[str, SemanticModel]
    products: Mapping[str, DataProduct]
    grants: Grants
    discover: Grants | None = None
    keep: Keep = keep_all
    _steps: dict[tuple[str, str], list[Step]] = field(default_factory=dict[tuple[str, str], list[Step]])
    _calendars: dict[str, dict[str, Calendar]] = field(default_factory=dict[str, dict[str, Calendar]])

    def __post_init__(self) -> None:
        for model in self.models.values():
            for relationship in model.relationships:
                start = self.place(model.product, relationship.from_dataset)
                end = self.place(model.product, relationship.to_dataset)
                if start is None or end is None:
                    continue
                other = Step(relationship, end, start, True)
                if relationship.partitions:
                    other = Step(_turned(relationship), start, end, True, relationship.partitions)
                for step in (Step(relationship, start, end, False), other):
                    self._steps.setdefault(step.start.key, []).append(step)

    def place(self, home: str, name: str) -> Place | None:
        """A dataset as a model names it: its own, `product.dataset` of another model, or a bare table there."""
        model = self.models.get(home)
        own = model.dataset(name) if model else None
        if own is not None:
            return Place(home, own)
        product, _, rest = name.partition(".")
        other = self.models.get(product)
        found = other.dataset(rest) if other else None
        if found is not None:
            return Place(product, found)
        return self._bare(product, rest)

    def places(self) -> Iterator[Place]:
        """Every dataset of every model."""
        for model in self.models.values():
            for dataset in model.datasets:
                yield Place(model.product, dataset)

    def _bare(self, product: str, table: str) -> Place | None:
        """A table without semantics, its scalar columns as dimensions."""
        declared = self.products[product].dataset(table) if product in self.products else None
        if declared is None:
            return None
        name = f"{product}.{table}"
        dimensions = tuple(_bare_dimension(name, column) for column in declared.columns if column.scalar)
        unique = tuple((column.name,) for column in declared.columns if column.unique)
        return Place(product, SemanticDataset(name, product, table, dimensions, (), declared.key, unique))

    def columns(self, place: Place) -> Mapping[str, Column]:
        """The physical columns of the table. Raises Refused where the table is not in this edition."""
        product = self.products.get(place.dataset.product)
        declared = product.dataset(place.dataset.table) if product else None
        if declared is None:
            raise Refused(
                f"the data of {place.dataset.name!r} is not published.",
                rule="not_published",
                hint=f"Ingest the product {place.dataset.product!r}.",
            )
        return {column.name: column for column in declared.columns}

    def steps(self, place: Place) -> Sequence[Step]:
        """The hops that start here."""
        return self._steps.get(place.key, ())

    def onward(self, start: Place) -> Iterator[Path]:
        """Every way through many-to-one hops, nearest first; no dataset twice. The empty way comes first."""
        waiting: list[tuple[Path, Place]] = [((), start)]
        while waiting:
            path, place = waiting.pop(0)
            yield path
            if len(path) < MAX_HOPS:
                seen = {start.key, *(step.end.key for step in path)}
                waiting.extend(
                    ((*path, step), step.end)
                    for step in self.steps(place)
                    if not step.many and step.end.key not in seen and _partitioned(start, path, step)
                )

    def across(self, start: Place, *, copies: bool = False) -> Iterator[Path]:
        """Every way that first goes from one to many, and then on through many-to-one hops; `copies` of one only."""
        waiting: list[tuple[Path, Place]] = [((), start)]
        while waiting:
            path, place = waiting.pop(0)
            if path:
                yield path
            if len(path) < MAX_HOPS:
                seen = {start.key, *(step.end.key for step in path)}
                forward = bool(path) and not path[-1].many
                waiting.extend(
                    ((*path, step), step.end)
                    for step in self.steps(place)
                    if step.end.key not in seen
                    and not (forward and step.many)
                    and (path or step.many)
                    and (step.copies or not step.many or not copies)
                    and _partitioned(start, path, step)
                    and not (step.copies and _has_partitions(start, path, step.copies))
                )

    # -- time spines ---------------------------------------------------------------------------------------

    def spines(self, home: str) -> list[TimeSpine]:
        """The time spines for a model's metrics: its own, or else those of the other models."""
        own = self.models[home].time_spines if home in self.models else ()
        others = [spine for name in sorted(self.models) for spine in self.models[name].time_spines]
        return list(own) or others

    def calendars(self, home: str = "") -> dict[str, Calendar]:
        """The custom grains that a model's metrics can be cut to, by name."""
        if home not in self._calendars:
            self._calendars[home] = calendars(self.spines(home))
        return self._calendars[home]

    def spine(self, home: str, grain: Grain, needs: Sequence[Calendar] = ()) -> TimeSpine:
        """The coarsest time spine that has every period of the grain. Raises Refused where there is none.

        `needs` are custom grains it had better hold itself.
        """
        found = [one for one in self.spines(home) if coarseness(one.grain) <= coarseness(grain)]
        if not found:
            raise Refused(
                f"there is no time spine of {grain.value}s or finer.",
                rule="no_time_spine",
                hint="Declare a table with one row for each period in the model's time_spines.",
            )
        best = max(found, key=lambda one: coarseness(one.grain))
        alike = [one for one in found if one.grain is best.grain]
        return next((one for one in alike if any(need.spine == one for need in needs)), alike[0])

    def spine_place(self, spine: TimeSpine) -> Place:
        """The spine's table as a dataset. Raises Refused where it is not published."""
        place = self._bare(spine.product, spine.table)
        if place is None:
            raise Refused(
                f"the time spine {spine.table!r} is not published.",
                rule="not_published",
                hint=f"Make {spine.table!r} a dataset of {spine.product!r} and ingest it.",
            )
        return place

    # -- rights --------------------------------------------------------------------------------------------

    def serving(self, product: str, metric: str) -> World:
        """The same world under the rules that allow this metric: rows of one rule never serve another's metric.

        A rule of another product serves it where it allows all metrics, or this one as `product.metric`. Without a
        product no metric is meant (values of a dimension), and every rule serves.
        """
        if not product:
            return self
        world = copy.copy(self)
        world.grants = {
            name: grant.for_metric(metric if name == product else f"{product}.{metric}")
            for name, grant in self.grants.items()
        }
        return world

    def dataset_grant(self, place: Place) -> DatasetGrant:
        """What the caller may do with the data under a dataset; nothing where its product is not granted."""
        grant = self.grants.get(place.dataset.product)
        return grant.dataset(place.dataset.table) if grant else DatasetGrant(place.dataset.table)

    def allowed(self, place: Place, columns: frozenset[str]) -> bool:
        """Whether some rule shows each of these columns unmasked."""
        return columns <= self.dataset_grant(place).columns

    def discoverable(self, place: Place, dimension: Dimension) -> bool:
        """Whether the caller may know that the dimension exists."""
        granted = self.dataset_grant(place)
        known = granted.columns | granted.masked
        shown = self.discover.get(place.dataset.product) if self.discover else None
        if shown is not None:
            found = shown.dataset(place.dataset.table)
            known = known | found.columns | found.masked
        return dimension.columns <= known

    def metric(self, name: str) -> tuple[SemanticModel, Metric]:
        """The metric of that name, `product.metric` where two products use one name. Raises UnknownName."""
        visible = {
            (model.product, metric.name): (model, metric)
            for model in self.models.values()
            for metric in model.metrics
            if self._metric_exists(model.product, metric.name)
        }
        product, _, rest = name.partition(".")
        if (product, rest) in visible:
            return visible[product, rest]
        found = [key for key in visible if key[1] == name]
        if len(found) == 1:
            return visible[found[0]]
        if found:
            choices = " or ".join(repr(".".join(key)) for key in sorted(found))
            raise UnknownName("metric", name, (), hint=f"Several products have one of this name: write {choices}.")
        raise UnknownName("metric", name, [metric for _, metric in visible], hint="`discover` lists all metrics.")

    def _metric_exists(self, product: str, metric: str) -> bool:
        granted = self.grants.get(product)
        shown = self.discover.get(product) if self.discover else None
        return any(grant is not None and grant.allows_metric(metric) for grant in (granted, shown))

    def require_metric(self, product: str, metric: str) -> None:
        """Raises Refused where the caller may know the metric but not ask for it."""
        grant = self.grants.get(product)
        if grant is None or not grant.allows_metric(metric):
            raise Refused(
                f"the metric {metric!r} is not granted to you.",
                rule="metric_not_granted",
                hint=f"Ask the owner of {product!r} for the action metric.",
            )


def partition_place(start: Place, path: Path, name: str) -> int | None:
    """How many hops lead to the first dataset on a way that has this partition; None where none has."""
    places = [start, *(step.end for step in path)]
    return next((hops for hops, place in enumerate(places) if name in place.dataset.partitions), None)


def _partitioned(start: Place, path: Path, step: Step) -> bool:
    return _has_partitions(start, path, step.relationship.partitions)


def _has_partitions(start: Place, path: Path, names: Sequence[str]) -> bool:
    return all(partition_place(start, path, name) is not None for name in names)


def _turned(relationship: Relationship) -> Relationship:
    """A relationship to a partitioned dataset, every copy of whose rows belongs to a row of the other side."""
    return replace(
        relationship,
        from_dataset=relationship.to_dataset,
        to_dataset=relationship.from_dataset,
        from_keys=relationship.to_keys,
        to_keys=relationship.from_keys,
        partitions=(),
    )


def _bare_dimension(dataset: str, column: Column) -> Dimension:
    return Dimension(
        name=column.name,
        expression=quoted(dataset, column.name),
        columns=frozenset({column.name}),
        type=column.type,
        is_time=column.type in (ColumnType.DATE, ColumnType.TIMESTAMP),
        label=column.title,
        description=column.description,
        synonyms=column.synonyms,
        unit=column.unit,
    )
