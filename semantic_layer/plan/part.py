"""Builds one part of a plan: a measure's base, what is joined to it, and which rows count for this caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.metric import Grain
from semantic_layer.plan.leaves import Leaf, not_supported
from semantic_layer.plan.names import METRIC_TIME, SEPARATOR, Found, find, only_way
from semantic_layer.plan.plan import Aggregate, Join, Operand, Part, Snapshot, Source, Term
from semantic_layer.plan.world import Path, Place, World
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, bind, leaves, map_leaves
from semantic_layer.predicate import Leaf as Comparison
from semantic_layer.product import Column, ColumnType


@dataclass
class _Reading:
    """One dataset on one way, while the part is built. `used` columns are grouped, filtered or computed with."""

    path: Path
    place: Place
    alias: str
    used: set[str] = field(default_factory=set[str])
    shown: bool = False


@dataclass
class PartBuilder:
    """Collects what one measure needs. Columns used with the caller's rights narrow the rows to one rule's."""

    world: World
    leaf: Leaf
    zone: str
    fiscal_month: int
    _readings: dict[tuple[str, ...], _Reading] = field(default_factory=dict[tuple[str, ...], _Reading])
    _operands: dict[str, Operand] = field(default_factory=dict[str, Operand])
    _filters: list[Predicate] = field(default_factory=list[Predicate])

    def __post_init__(self) -> None:
        self.world = self.world.serving(*self.leaf.asked)
        self._reading(())
        self._to_grain = self._path_to(self.leaf.base, self.leaf.grained, self.leaf.measure.dataset)

    # -- terms ---------------------------------------------------------------------------------------------

    def term(self, found: Found, grain: Grain | None, *, owned: bool = False) -> Term:
        """A dimension as a term of this part, cut to the grain; `owned`: without the caller's column rights."""
        grain = grain or found.grain
        reading = self._reading(found.path)
        if not owned:
            reading.used |= found.dimension.columns
            reading.shown = True
        kind = self.type_of(found)
        if grain is not None and kind not in (ColumnType.DATE, ColumnType.TIMESTAMP):
            raise InvalidArgument(f"{found.name!r} is no date and cannot be cut to a {grain.value}.")
        if grain is not None and grain.sub_day and kind is ColumnType.DATE:
            raise InvalidArgument(f"{found.name!r} holds days, not {grain.value}s.", hint="Use day or coarser.")
        return Term(
            found.dimension.expression,
            ((found.place.dataset.name, reading.alias),),
            kind,
            grain,
            self.zone if kind is ColumnType.TIMESTAMP else "",
            self.fiscal_month if grain is not None and grain.fiscal else 0,
        )

    def type_of(self, found: Found) -> ColumnType | None:
        """A dimension's type, from the contract where its file does not say."""
        if found.dimension.type is not None or len(found.dimension.columns) != 1:
            return found.dimension.type
        (name,) = found.dimension.columns
        column = self.world.columns(found.place).get(name)
        bare = found.dimension.expression.endswith(f'."{name}"')
        return column.type if column is not None and bare else None

    def own_time(self) -> Found:
        """The measure's own time dimension. Raises InvalidArgument where its metric has none."""
        measure = self.leaf.measure
        name = measure.default_time
        if not name and self.leaf.base.dataset.default_time:
            name = f"{self.leaf.base.dataset.name}.{self.leaf.base.dataset.default_time}"
        if not name:
            raise InvalidArgument(
                f"the metric {self.leaf.metric!r} has no time of its own.",
                hint="Set default_time in the model, or name a dimension in `time.dimension`.",
            )
        if "." not in name:
            name = f"{measure.dataset}.{name}"
        return self.resolve(name)

    def resolve(self, name: str) -> Found:
        """A name that the model's author wrote. Raises InvalidArgument where it leads nowhere or several ways."""
        if name.split(SEPARATOR)[0] == METRIC_TIME:
            grain = name.partition(SEPARATOR)[2]
            own = self.own_time()
            return Found(own.path, own.place, own.dimension, Grain(grain) if grain else None, own.spelled)
        found = find(self.world, self.leaf.base, name, facts=True)
        if not found:
            raise InvalidArgument(f"the metric {self.leaf.metric!r} names {name!r}, which its rows do not reach.")
        identities = {one.identity for one in found}
        local = [one for one in found if not one.path]
        if len(identities) > 1 and len(local) != 1:
            raise InvalidArgument(
                f"the metric {self.leaf.metric!r} names {name!r}, which could be several fields."
            )
        return local[0] if len(identities) > 1 else only_way(found, name)

    # -- filters -------------------------------------------------------------------------------------------

    def restrict(self, predicate: Predicate, terms: dict[str, tuple[Found, Term]]) -> None:
        """AND a filter whose fields stand for these terms. Raises InvalidFilter for a value of a wrong type."""

        columns = {name: self._column(name, *pair) for name, pair in terms.items()}

        def named(comparison: Comparison) -> Predicate:
            found, term = terms[comparison.field]
            name = f"{term.aliases[0][1]}.{found.dimension.name}" + (f" {term.grain.value}" if term.grain else "")
            self._operands[name] = Operand(name, term, replace(columns[comparison.field], name=name))
            return replace(comparison, field=name)

        self._filters.append(map_leaves(bind(predicate, columns), named))

    def _column(self, name: str, found: Found, term: Term) -> Column:
        kind = term.result_type
        if kind is None:
            raise InvalidArgument(
                f"the type of {name!r} is not known, so it cannot be filtered.",
                hint="Declare its datatype in the semantic file.",
            )
        declared = self.world.columns(found.place).get(next(iter(found.dimension.columns), ""))
        if declared is not None and kind is declared.type:
            return Column(name, kind, declared.items, precision=declared.precision, scale=declared.scale)
        return Column(name, kind)

    def restrict_by_metric(self) -> None:
        """AND the metric's own filters."""
        for given in self.leaf.filters:
            terms: dict[str, tuple[Found, Term]] = {}
            for comparison in leaves(given.predicate):
                found = self.resolve(comparison.field)
                terms[comparison.field] = (found, self.term(found, None, owned=given.owned))
            self.restrict(given.predicate, terms)

    # -- the part ------------------------------------------------------------------------------------------

    def build(self, keys: Sequence[Term], snapshot: Snapshot | None) -> Part:
        """The part, once everything it needs was asked for."""
        measure, leaf = self.leaf.measure, self.leaf
        aliases: list[tuple[str, str]] = []
        for name in sorted({dataset for dataset, _ in measure.columns}):
            reading = self._measured(name)
            aliases.append((name, reading.alias))
            if not leaf.owned:
                reading.used |= {column for dataset, column in measure.columns if dataset == name}
        term = Term(measure.expression, tuple(aliases))
        self._restricting()
        distinct = self._counted_once()
        if distinct and snapshot is not None:
            raise not_supported(f"{leaf.metric!r} takes a level at a moment, and this spreads it over many rows")
        readings = list(self._readings.values())
        return Part(
            base=self._source(readings[0]),
            joins=tuple(self._join(reading) for reading in readings[1:]),
            keys=tuple(keys),
            filter=all_of(*self._filters),
            operands=tuple(self._operands[name] for name in sorted(self._operands)),
            aggregates=(Aggregate(leaf.alias, measure.aggregation, term, measure.percentile, measure.discrete),),
            distinct=distinct,
            present=next(iter(distinct), None) if self._to_grain else None,
            snapshot=snapshot,
            minimum=self._minimum(readings),
        )

    def snapshot(self, keys: Sequence[Found]) -> Snapshot | None:
        """Which moment of a level counts: within each grouping and each period of the queried time."""
        given = self.leaf.measure.non_additive
        if given is None:
            return None
        own = f"{self.leaf.measure.dataset}."
        time = self.resolve(given.time if "." in given.time else own + given.time)
        groupings = tuple(
            self.term(self.resolve(name if "." in name else own + name), None, owned=self.leaf.owned)
            for name in given.groupings
        )
        periods = tuple(number for number, found in enumerate(keys) if found.dimension == time.dimension)
        kept = time.dimension.grain if self.type_of(time) is ColumnType.TIMESTAMP else None
        return Snapshot(self.term(time, kept, owned=self.leaf.owned), given.choice, groupings, periods)

    def _counted_once(self) -> tuple[Term, ...]:
        """The key of the measure's rows, where joins or a common root would count them more than once."""
        fans = any(step.many for reading in self._readings.values() for step in reading.path)
        if not fans and not self._to_grain:
            return ()
        dataset = self.leaf.grained.dataset
        if not dataset.key:
            raise Refused(
                f"{self.leaf.metric!r} cannot be counted once a group: {dataset.name!r} has no key.",
                rule="fan_out",
                hint=f"Declare primary_key on {dataset.name!r}, or group by a dimension of its own.",
            )
        alias = self._reading(self._to_grain).alias
        return tuple(
            Term(
                ".".join('"' + part.replace('"', '""') + '"' for part in (dataset.name, column)),
                ((dataset.name, alias),),
            )
            for column in dataset.key
        )

    def _measured(self, name: str) -> _Reading:
        place = self.world.place(self.leaf.model.product, name) or self.leaf.grained
        further = self._path_to(self.leaf.grained, place, name)
        return self._reading((*self._to_grain, *further))

    def _path_to(self, start: Place, end: Place, name: str) -> Path:
        ways = [path for path in self.world.onward(start) if (path[-1].end if path else start).key == end.key]
        if not ways:
            raise InvalidArgument(f"{start.dataset.name!r} does not lead to {name!r}.")
        if len(ways) > 1 and ways[0]:
            listed = ", ".join("→".join(step.relationship.name for step in way) for way in ways)
            raise InvalidArgument(f"there are several ways from {start.dataset.name!r} to {name!r}: {listed}.")
        return ways[0]

    def _reading(self, path: Path) -> _Reading:
        """The source at the end of a way, joined with everything before it."""
        key = tuple(part for step in path for part in (step.relationship.name, step.end.dataset.name))
        if key not in self._readings:
            if path:
                self._reading(path[:-1])
            place = path[-1].end if path else self.leaf.base
            if path and place.dataset.validity:
                raise not_supported(f"{place.dataset.name!r} holds rows that are valid for a time")
            taken = {reading.alias for reading in self._readings.values()}
            wanted = place.dataset.name.replace(".", "_")
            number = 2
            alias = wanted
            while alias in taken:
                alias, number = f"{wanted}_{number}", number + 1
            self._readings[key] = _Reading(path, place, alias)
        return self._readings[key]

    def _restricting(self) -> None:
        """Join what the grant withholds rows of, so that facts of a forbidden dimension row can be dropped."""
        fanned = [reading.path for reading in self._readings.values() if reading.path and reading.path[-1].many]
        starts: list[Path] = [(), *fanned]
        for start in starts:
            for way in self.world.onward(start[-1].end if start else self.leaf.base):
                if way and self._withholds(way[-1].end):
                    self._reading((*start, *way))

    def _withholds(self, place: Place) -> bool:
        product = place.dataset.product
        if product not in self.world.products:
            return False
        grant = self.world.grants.get(product)
        if grant is None or not grant.dataset(place.dataset.table).allowances:
            raise Refused(
                f"the rows of {self.leaf.metric!r} belong to data that is not granted to you.",
                rule="restricts_facts",
                hint="Ask the owner for the rows behind it; `describe` names the owner.",
            )
        return grant.restricts_facts and grant.dataset(place.dataset.table).access().rows != TRUE

    def _source(self, reading: _Reading) -> Source:
        place = reading.place
        product, table = place.table
        columns = self.world.columns(place)
        access = self.world.dataset_grant(place).access(used=reading.used)
        if access.rows == FALSE:
            raise self._uncovered(reading)
        grant = self.world.grants[product]
        joined = bool(reading.path)
        return Source(
            alias=reading.alias,
            dataset=place.dataset.name,
            product=product,
            table=table,
            rows=access.rows,
            keep=self.world.keep(product, table),
            forbids=joined and grant.restricts_facts and access.rows != TRUE,
            columns=columns,
        )

    def _uncovered(self, reading: _Reading) -> Refused:
        names = ", ".join(sorted(reading.used))
        dataset = reading.place.dataset.name
        if not self.world.dataset_grant(reading.place).allowances:
            said = f"{self.leaf.metric!r} reads data that is not granted to you."
            return Refused(said, rule="not_granted", hint="Ask the product's owner for access.")
        if reading.used <= self.world.dataset_grant(reading.place).columns:
            said = f"no rule shows you {names} of {dataset!r} together."
            return Refused(said, rule="policy_overlap", hint="Ask for fewer of them at a time.")
        return Refused(
            f"the metric {self.leaf.metric!r} is not certified and reads columns that are withheld from you.",
            rule="uncertified_metric",
            hint="Ask its owner to certify it; a certified metric runs with its owner's column rights.",
        )

    def _join(self, reading: _Reading) -> Join:
        step = reading.path[-1]
        relationship = step.relationship
        parent = self._reading(reading.path[:-1])
        pairs = zip(relationship.from_keys, relationship.to_keys, strict=True)
        return Join(
            source=self._source(reading),
            parent=parent.alias,
            pairs=tuple((own, other) if not step.many else (other, own) for own, other in pairs),
            many=step.many,
        )

    def _minimum(self, readings: Sequence[_Reading]) -> int:
        shown = [readings[0], self._reading(self._to_grain), *(one for one in readings if one.shown)]
        return max(self.world.grants[one.place.dataset.product].minimum_group_size for one in shown)
