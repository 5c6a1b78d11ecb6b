"""One part of a plan as SQL: governed sources, their joins, the rows that count, and their aggregates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from semantic_layer.metric import Aggregation, quoted
from semantic_layer.plan.plan import (
    ROW,
    Aggregate,
    Events,
    Fill,
    Join,
    Lookup,
    Operand,
    Part,
    Plan,
    Reduction,
    Source,
    Term,
)
from semantic_layer.predicate import TRUE, Predicate, all_of
from semantic_layer.product import ColumnType
from semantic_layer.sql.build import (
    Dialect,
    all_true,
    cast,
    derived,
    identifier,
    is_null,
    is_present,
    join,
    labelled,
    named,
    one,
    same,
    select,
    table_named,
)
from semantic_layer.sql.clock import periods, shows
from semantic_layer.sql.expressions import canonical, type_of
from semantic_layer.sql.grain import interval, part_of, truncated
from semantic_layer.sql.partials import PERIODS, Partial, partial_of
from semantic_layer.sql.percentiles import percentile
from semantic_layer.sql.predicate import Parameters, predicate_sql

VISIBLE = "wh.visible"
SIZE = "wh.rows"
HERE = "wh.here"
ROWS = "r"

_WRAPS_WHOLE_NUMBERS = ("clickhouse", "datafusion")
"""Engines whose sum of 64-bit numbers starts again from below when it is too large."""

Nested = Callable[[Plan], exp.Query]
"""A whole plan as a query of its own, its values among the statement's parameters."""


def key_name(number: int) -> str:
    """The column that holds a group's value of the plan's key at this position."""
    return f"k{number}"


class PartSql:
    """Compiles one part. Values go to the statement's parameters; columns read are remembered for their source."""

    def __init__(
        self, part: Part, parameters: Parameters, dialect: Dialect, nested: Nested, *, marked: bool = False
    ) -> None:
        self.part, self.parameters, self.nested, self.marked = part, parameters, nested, marked
        self.dialect: Dialect = dialect
        self.read: dict[str, set[str]] = {}
        self.partial = partial_of(part)
        terms = [aggregate.term for aggregate in part.aggregates] if part.events is None else []
        self.values = list(dict.fromkeys(terms))
        self.keys = [key_name(number) for number in range(len(part.keys))]

    def grouped(self) -> exp.Select:
        """One row a group: keys, aggregates, and how many rows it holds."""
        part, reduced = self.part, self.part.reduction
        keys = [*self.keys, *(["kt"] if reduced else [])]
        query = select([*(named(key) for key in keys), *self._aggregates()], self._rows(grouped=True))
        if keys:
            query.set("group", exp.Group(expressions=[named(key) for key in keys]))
        if part.fill is not None:
            query = self._filled(query, part.fill, keys)
        if reduced is not None:
            query = self._reduced(query, reduced)
        if self.marked:
            query = select([exp.Star(), labelled(exp.Boolean(this=True), HERE)], _rows_of(query))
        return query

    def listed(self) -> exp.Select:
        """One row for each row that counts: its keys."""
        return select([named(key) for key in self.keys], self._rows(grouped=True))

    def total(self, shown: str) -> exp.Select:
        """One row over everything, or over the rows of the groups in the table `shown` where one is named.

        What is accumulated or shifted has no total: its periods overlap.
        """
        if self.part.ticks:
            empty = [labelled(exp.Null(), aggregate.alias) for aggregate in self.part.aggregates]
            sizes = [labelled(exp.Literal.number(self.part.minimum), SIZE)] if self.part.minimum > 1 else []
            return select([*empty, *sizes], None)
        return select(self._aggregates(), self._rows(grouped=False, shown=shown))

    def _aggregates(self) -> list[exp.Expr]:
        found = [labelled(self._aggregate(aggregate), aggregate.alias) for aggregate in self.part.aggregates]
        size = exp.Sum(this=named(SIZE)) if self.partial else exp.Count(this=exp.Star())
        return [*found, labelled(size, SIZE)] if self.part.minimum > 1 else found

    def _aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if self.partial is not None:
            return self._merged(aggregate)
        number = self.values.index(aggregate.term) if self.part.events is None else 0
        return self._aggregated(aggregate, named(f"v{number}"))

    def _merged(self, aggregate: Aggregate) -> exp.Expr:
        """An aggregate of what each period's rows came to."""
        value = named(f"p{self.part.aggregates.index(aggregate)}")
        if aggregate.aggregation is Aggregation.COUNT:
            return cast(exp.Sum(this=value), "BIGINT")
        return self._aggregated(aggregate, value)

    def _aggregated(self, aggregate: Aggregate, value: exp.Expr) -> exp.Expr:
        match aggregate.aggregation:
            case Aggregation.SUM:
                return exp.Sum(this=self._wide(value, aggregate.term))
            case Aggregation.COUNT:
                return exp.Count(this=value)
            case Aggregation.COUNT_DISTINCT:
                return exp.Count(this=exp.Distinct(expressions=[value]))
            case Aggregation.MIN:
                return exp.Min(this=value)
            case Aggregation.MAX:
                return exp.Max(this=value)
            case Aggregation.AVERAGE:
                return exp.Avg(this=self._wide(value, aggregate.term))
            case Aggregation.MEDIAN | Aggregation.PERCENTILE:
                return percentile(value, aggregate, self.dialect)

    def _wide(self, value: exp.Expr, term: Term) -> exp.Expr:
        """The value in a type whose sum does not start again from below, where the engine's own does."""
        if self.dialect not in _WRAPS_WHOLE_NUMBERS:
            return value
        columns = {
            quoted(dataset, name): column.type
            for dataset, alias in term.aliases
            for source in self.part.sources
            if source.alias == alias
            for name, column in source.columns.items()
        }
        tree = canonical(term.expression)
        summed = any(isinstance(node, exp.Column) for node in tree.walk())
        whole = summed and type_of(tree, columns) is ColumnType.INTEGER
        return cast(value, "DECIMAL(38, 0)") if whole else value

    # -- rows ----------------------------------------------------------------------------------------------

    def _rows(self, *, grouped: bool, shown: str = "") -> exp.Subquery:
        """The rows to aggregate, layer by layer: joined and filtered, of shown groups, once, of the moment."""
        part = self.part
        keys = list(zip(self.keys, part.keys, strict=True))
        if part.reduction is not None:
            keys.append(("kt", part.reduction.time))
        values = [(f"v{number}", term) for number, term in enumerate(self.values)]
        once = [(f"d{number}", term) for number, term in enumerate(part.distinct)]
        kept = keys if grouped or shown else []
        if self.partial is not None:
            return _rows_of(self._on_periods(self.partial, kept))
        if part.events is not None:
            query = self._converted(part.events, kept)
            return _rows_of(self._of_shown(query, shown, self.keys) if shown else query)
        query = self.joined([*kept, *once, *values, *self._moment()])
        if shown:
            query = self._of_shown(query, shown, self.keys)
        if part.distinct:
            columns = [name for name, _ in [*(keys if grouped else []), *once, *values, *self._moment()]]
            query = select([named(name) for name in columns], _rows_of(query)) if shown else query
            query.set("distinct", exp.Distinct())
        if part.snapshot is not None:
            query = self._at_moment(query, grouped)
        return _rows_of(query)

    def _on_periods(self, partial: Partial, keys: Sequence[tuple[str, Term]]) -> exp.Select:
        """Each period's sums at every period of the spine that shows them."""
        inner = PartSql(partial.inner, self.parameters, self.dialect, self.nested)
        before = self.part.ticks[0].before
        plain = [(key_name(place), self.part.keys[place]) for place in partial.places]
        values = [(f"v{number}", term) for number, term in enumerate(self.values)]
        rows = inner.joined([("t0", before), *plain, *values])
        named_keys = ["t0", *(name for name, _ in plain)]
        sums = [
            labelled(self._aggregated(one, named(f"v{self.values.index(one.term)}")), f"p{number}")
            for number, one in enumerate(self.part.aggregates)
        ]
        if self.part.minimum > 1:
            sums.append(labelled(exp.Count(this=exp.Star()), SIZE))
        query = select([*(named(name) for name in named_keys), *sums], _rows_of(rows))
        query.set("group", exp.Group(expressions=[named(name) for name in named_keys]))
        outer = PartSql(partial.outer, self.parameters, self.dialect, self.nested)
        kept = [outer.part.keys[self.keys.index(name)] if name in self.keys else term for name, term in keys]
        names = [
            *(f"p{number}" for number in range(len(self.part.aggregates))),
            *([SIZE] if self.part.minimum > 1 else []),
        ]
        shown = [
            *((name, term) for (name, _), term in zip(keys, kept, strict=True)),
            *((name, _of_periods(name)) for name in names),
        ]
        return outer.joined(shown, derived(query, PERIODS))

    def joined(self, columns: Sequence[tuple[str, Term]], base: exp.Expr | None = None) -> exp.Select:
        """Every row that counts, with these terms as its columns; `base` stands for the part's own table."""
        part = self.part
        selected = [labelled(self._selected(term, name), name) for name, term in columns]
        conditions = self._where(part.filter, part.operands)
        if part.present is not None:
            conditions.append(is_present(self._term(part.present)))
        joins = [(each, self._condition(each)) for each in part.joins]
        ticks = [(tick, shows(tick, self._term), self._where(tick.filter, tick.operands)) for tick in part.ticks]
        late = [(each, self._condition(each)) for each in part.late]
        terms = [term for tick in part.ticks for term in (tick.period, *tick.begins)]
        for term in terms:
            self._term(term)
        conditions += [
            exp.Coalesce(this=named(each.source.alias, VISIBLE), expressions=[exp.Boolean(this=True)])
            for each, _ in joins
            if isinstance(each.source, Source) and each.source.forbids
        ]
        query = select(selected or [one()], base or self._source(part.base), conditions)
        for each, condition in joins:
            join(query, self._joined_source(each.source), condition, each.kind)
        for tick, condition, where in ticks:
            spine = periods(tick, self._source(tick.spine), self._term, where)
            query.append("joins", exp.Join(this=spine, kind="INNER", on=condition))
        for each, condition in late:
            join(query, self._joined_source(each.source), condition, each.kind)
        return query

    def _selected(self, term: Term, name: str) -> exp.Expr:
        """A term as a column of the rows.

        DataFusion 55 takes a column that is unique in one joined table for a key of every grouping by it and others,
        and drops the others from ORDER BY and, where nobody reads them, from GROUP BY. An expression is no such key.
        """
        value = self._term(term)
        if self.dialect == "datafusion" and isinstance(value, exp.Column) and not name.startswith("v"):
            return exp.Nullif(this=value, expression=exp.Null())
        return value

    def _where(self, predicate: Predicate, operands: Sequence[Operand]) -> list[exp.Expr]:
        if predicate == TRUE:
            return []
        found = {one.name: self._term(one.term) for one in operands}
        types = {one.name: one.column for one in operands}
        return [predicate_sql(predicate, types, self.parameters, dialect=self.dialect, operands=found)]

    def _condition(self, joined: Join) -> exp.Expr | None:
        found: list[exp.Expr] = [
            exp.EQ(this=self._term(left), expression=self._term(right)) for left, right in joined.pairs
        ]
        if joined.during is not None:
            moment, start, end = (self._term(term) for term in joined.during)
            found.append(exp.GTE(this=moment, expression=start))
            open_end = exp.Or(this=exp.LT(this=moment.copy(), expression=end), expression=is_null(end.copy()))
            found.append(exp.Paren(this=open_end))
        return all_true(found)

    def _of_shown(self, query: exp.Select, shown: str, keys: Sequence[str]) -> exp.Select:
        """The rows whose group is in the table `shown`, which holds each group once."""
        matches = [same(named(shown, key), named(ROWS, key)) for key in keys]
        if self.dialect in ("duckdb", "postgres"):
            found = select([one()], table_named(shown), matches)
            return select([exp.Star()], _rows_of(query), [exp.Exists(this=found)])
        # Warehouses look up a subquery of each row by plain equality only; a join they all have.
        found = select([exp.Column(this=exp.Star(), table=identifier(ROWS))], _rows_of(query))
        found.append("joins", exp.Join(this=table_named(shown), kind="INNER", on=all_true(matches)))
        return found

    def _moment(self) -> list[tuple[str, Term]]:
        snapshot = self.part.snapshot
        if snapshot is None:
            return []
        return [("t", snapshot.time), *((f"w{number}", term) for number, term in enumerate(snapshot.groupings))]

    def _at_moment(self, query: exp.Select, grouped: bool) -> exp.Select:
        snapshot = self.part.snapshot
        assert snapshot is not None
        within = [named(f"w{number}") for number in range(len(snapshot.groupings))]
        if grouped:
            within += [named(key_name(number)) for number in snapshot.periods]
        chosen = exp.Max(this=named("t")) if snapshot.choice == "max" else exp.Min(this=named("t"))
        window = exp.Window(this=chosen, partition_by=list(within))
        marked = select([exp.Star(), labelled(window, "moment")], _rows_of(query))
        return select([exp.Star()], _rows_of(marked), [exp.EQ(this=named("t"), expression=named("moment"))])

    # -- conversions ---------------------------------------------------------------------------------------

    def _converted(self, events: Events, keys: Sequence[tuple[str, Term]]) -> exp.Select:
        """Each event once a group, as `v0`, with the keys of the last opportunity that led to it."""
        inner = PartSql(events.part, self.parameters, self.dialect, self.nested)
        number = exp.Window(this=exp.RowNumber())
        matched = [(f"m{place}", pair) for place, pair in enumerate(events.matches)]
        event_rows = inner.joined(
            [
                *((name, pair[1]) for name, pair in matched),
                ("t", events.times[1]),
                ("v0", events.part.aggregates[0].term),
            ]
        )
        numbered = select([exp.Star(), labelled(number, "id")], _rows_of(event_rows))
        rows = [(f"o{place}", term) for place, term in enumerate(events.rows)]
        moments = [*((name, pair[0]) for name, pair in matched), ("t", events.times[0])]
        base = self.joined([*keys, *rows, *moments])
        order = [exp.Ordered(this=named("b", "t"), desc=True, nulls_first=False)]
        order += [exp.Ordered(this=named("b", name), nulls_first=False) for name, _ in rows]
        # The one opportunity, on each row that joins spread it over.
        last = exp.Window(
            this=exp.Anonymous(this="RANK"), partition_by=[named("e", "id")], order=exp.Order(expressions=order)
        )
        pairs = select(
            [
                *(labelled(named("b", name), name) for name, _ in keys),
                labelled(named("e", "id"), "id"),
                labelled(named("e", "v0"), "v0"),
                labelled(last, "n"),
            ],
            derived(base, "b"),
        )
        conditions: list[exp.Expr] = [
            exp.EQ(this=named("b", name), expression=named("e", name)) for name, _ in matched
        ]
        conditions.append(exp.LTE(this=named("b", "t"), expression=named("e", "t")))
        if events.window is not None:
            since = exp.Sub(this=named("e", "t"), expression=interval(events.window))
            conditions.append(exp.GT(this=named("b", "t"), expression=since))
        pairs.append("joins", exp.Join(this=derived(numbered, "e"), kind="INNER", on=all_true(conditions)))
        found = select([exp.Star()], derived(pairs, "c"), [exp.EQ(this=named("n"), expression=one())])
        if self.part.distinct:
            found.set("distinct", exp.Distinct())
        return found

    # -- periods -------------------------------------------------------------------------------------------

    def _filled(self, query: exp.Select, fill: Fill, keys: Sequence[str]) -> exp.Select:
        """The groups, and a row for every period of the spine that has none."""
        spine = PartSql(fill.periods, self.parameters, self.dialect, self.nested).grouped()
        names = {keys[place]: key_name(number) for number, place in enumerate(fill.positions)}
        columns = [
            labelled(named("p", names[key]), key) if key in names else labelled(named("g", key), key)
            for key in keys
        ]
        found = select([*columns, *(named("g", name) for name in self._outputs())], derived(spine, "p"))
        alike: list[exp.Expr] = []
        for (key, own), term in zip(names.items(), fill.periods.keys, strict=True):
            pair = named("p", own), named("g", key)
            custom = term.grain is None and term.part is None  # a day may lie in no custom period
            alike.append(same(*pair) if custom else exp.EQ(this=pair[0], expression=pair[1]))
        join(found, derived(query, "g"), all_true(alike))
        filled = self._values_filled(found)
        if fill.again == TRUE:
            return filled
        operands = {name: named(key_name(place)) for name, place in fill.places.items()}
        again = predicate_sql(
            fill.again, dict(fill.columns), self.parameters, dialect=self.dialect, operands=dict(operands)
        )
        return select([exp.Star()], _rows_of(filled), [again])

    def _outputs(self) -> list[str]:
        names = [aggregate.alias for aggregate in self.part.aggregates]
        return [*names, SIZE] if self.part.minimum > 1 else names

    def _values_filled(self, query: exp.Select) -> exp.Select:
        fills = {each.alias: each.fill for each in self.part.aggregates if each.fill is not None}
        if self.part.minimum > 1:
            fills[SIZE] = self.part.minimum  # a period without rows hides nobody
        for place, column in enumerate(query.expressions):
            name = column.alias_or_name
            if name in fills:
                value = exp.Coalesce(this=column.unalias(), expressions=[exp.Literal.number(fills[name])])
                query.expressions[place] = labelled(value, name)
        return query

    def _reduced(self, query: exp.Select, reduction: Reduction) -> exp.Select:
        """Each group's first or last value by time, or their average."""
        keys = [named(key) for key in self.keys]
        if reduction.choice == "average":
            values = [labelled(exp.Avg(this=named(each.alias)), each.alias) for each in self.part.aggregates]
            sizes = [labelled(exp.Min(this=named(SIZE)), SIZE)] if self.part.minimum > 1 else []
            found = select([*keys, *values, *sizes], _rows_of(query))
            if keys:
                found.set("group", exp.Group(expressions=[key.copy() for key in keys]))
            return found
        order = exp.Ordered(this=named("kt"), desc=reduction.choice == "last", nulls_first=False)
        place = exp.Window(
            this=exp.RowNumber(), partition_by=[key.copy() for key in keys], order=exp.Order(expressions=[order])
        )
        numbered = select([exp.Star(), labelled(place, "n")], _rows_of(query))
        columns = [*keys, *(named(name) for name in self._outputs())]
        return select(columns, _rows_of(numbered), [exp.EQ(this=named("n"), expression=one())])

    # -- expressions and sources ---------------------------------------------------------------------------

    def _term(self, term: Term) -> exp.Expr:
        value = self._at(term.expression, dict(term.aliases))
        if term.part is not None:
            return part_of(value, term.type, term.part, term.zone)
        if term.grain is None:
            return value
        return truncated(value, term.type, term.grain, term.zone, term.fiscal_month)

    def _at(self, expression: str, aliases: dict[str, str]) -> exp.Expr:
        """A canonical expression with its datasets replaced by the aliases they are read under."""

        def moved(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column):
                return node
            target = aliases.get(node.table) or aliases[""]
            self.read.setdefault(target, set()).add(node.name)
            return named(target, node.name)

        return canonical(expression).transform(moved)

    def _joined_source(self, source: Source | Lookup) -> exp.Expr:
        if isinstance(source, Source):
            return self._source(source)
        return exp.Subquery(this=self.nested(source.plan), alias=exp.TableAlias(this=identifier(source.alias)))

    def _source(self, source: Source) -> exp.Expr:
        """The table under its alias, with only the rows that the caller may see and the columns that are read."""
        if self.dialect == "duckdb":
            place = {"db": identifier("main"), "catalog": identifier(source.product)}
        else:
            place = {"db": identifier(source.product)}
        table = exp.Table(this=identifier(source.table), **place)
        kept = all_of(source.keep, TRUE if source.forbids else source.rows)
        read = self.read.get(source.alias, set[str]())
        if kept == TRUE and not source.forbids and ROW not in read:
            table.set("alias", exp.TableAlias(this=identifier(source.alias)))
            return table
        columns: list[exp.Expr] = [named(name) for name in sorted(read - {ROW})]
        if ROW in read:
            stored = self.dialect == "duckdb" and "rowid" not in source.columns
            columns.append(labelled(named("rowid") if stored else exp.Window(this=exp.RowNumber()), ROW))
        if source.forbids:
            allowed = self._predicate(source.rows, source)
            columns.append(labelled(exp.Coalesce(this=allowed, expressions=[exp.Boolean(this=False)]), VISIBLE))
        where = [] if kept == TRUE else [self._predicate(kept, source)]
        return derived(select(columns or [one()], table, where), source.alias)

    def _predicate(self, predicate: Predicate, source: Source) -> exp.Expr:
        return predicate_sql(predicate, source.columns, self.parameters, dialect=self.dialect)


def _of_periods(name: str) -> Term:
    return Term(quoted(PERIODS, name), ((PERIODS, PERIODS),))


def _rows_of(query: exp.Select) -> exp.Subquery:
    return derived(query, ROWS)
