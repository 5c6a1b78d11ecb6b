"""One part of a plan as SQL: governed sources, their joins, the rows that count, and their aggregates."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from semantic_layer.metric import Aggregation
from semantic_layer.plan.plan import Aggregate, Join, Part, Source, Term
from semantic_layer.predicate import TRUE, Predicate, all_of
from semantic_layer.sql.build import (
    Dialect,
    all_true,
    cast,
    derived,
    identifier,
    is_present,
    join,
    labelled,
    named,
    one,
    same,
    select,
    table_named,
)
from semantic_layer.sql.expressions import canonical
from semantic_layer.sql.grain import truncated
from semantic_layer.sql.predicate import Parameters, predicate_sql

VISIBLE = "wh.visible"
SIZE = "wh.rows"
ROWS = "r"


def key_name(number: int) -> str:
    """The column that holds a group's value of the plan's key at this position."""
    return f"k{number}"


class PartSql:
    """Compiles one part. Values go to the statement's parameters; columns read are remembered for their source."""

    def __init__(self, part: Part, parameters: Parameters, dialect: Dialect) -> None:
        self.part, self.parameters = part, parameters
        self.dialect: Dialect = dialect
        self.read: dict[str, set[str]] = {}
        self.values = list(dict.fromkeys(aggregate.term for aggregate in part.aggregates))

    def grouped(self) -> exp.Select:
        """One row a group: keys, aggregates, and how many rows it holds."""
        keys = [key_name(number) for number in range(len(self.part.keys))]
        query = select([*(named(key) for key in keys), *self._aggregates()], self._rows(grouped=True))
        if keys:
            query.set("group", exp.Group(expressions=[named(key) for key in keys]))
        return query

    def total(self, shown: str) -> exp.Select:
        """One row over everything, or over the rows of the groups in the table `shown` where one is named."""
        return select(self._aggregates(), self._rows(grouped=False, shown=shown))

    def _aggregates(self) -> list[exp.Expr]:
        found = [labelled(self._aggregate(aggregate), aggregate.alias) for aggregate in self.part.aggregates]
        return [*found, labelled(exp.Count(this=exp.Star()), SIZE)] if self.part.minimum > 1 else found

    def _aggregate(self, aggregate: Aggregate) -> exp.Expr:
        value: exp.Expr = named(f"v{self.values.index(aggregate.term)}")
        match aggregate.aggregation:
            case Aggregation.SUM:
                return exp.Sum(this=value)
            case Aggregation.COUNT:
                return exp.Count(this=value)
            case Aggregation.COUNT_DISTINCT:
                return exp.Count(this=exp.Distinct(expressions=[value]))
            case Aggregation.MIN:
                return exp.Min(this=value)
            case Aggregation.MAX:
                return exp.Max(this=value)
            case Aggregation.AVERAGE:
                return exp.Avg(this=value)
            case Aggregation.MEDIAN | Aggregation.PERCENTILE:
                return _percentile(value, aggregate)

    # -- rows ----------------------------------------------------------------------------------------------

    def _rows(self, *, grouped: bool, shown: str = "") -> exp.Subquery:
        """The rows to aggregate, layer by layer: joined and filtered, of shown groups, once, of the moment."""
        part = self.part
        keys = [(key_name(number), term) for number, term in enumerate(part.keys)]
        values = [(f"v{number}", term) for number, term in enumerate(self.values)]
        once = [(f"d{number}", term) for number, term in enumerate(part.distinct)]
        kept = keys if grouped or shown else []
        query = self._joined([*kept, *once, *values, *self._moment()])
        if shown:
            query = self._of_shown(query, shown, [key for key, _ in keys])
        if part.distinct:
            columns = [name for name, _ in [*(keys if grouped else []), *once, *values]]
            query = select([named(name) for name in columns], _rows_of(query)) if shown else query
            query.set("distinct", exp.Distinct())
        if part.snapshot is not None:
            query = self._at_moment(query, grouped)
        return _rows_of(query)

    def _joined(self, columns: Sequence[tuple[str, Term]]) -> exp.Select:
        part = self.part
        selected = [labelled(self._term(term), name) for name, term in columns]
        conditions: list[exp.Expr] = []
        if part.filter != TRUE:
            operands = {one.name: self._term(one.term) for one in part.operands}
            types = {one.name: one.column for one in part.operands}
            conditions.append(
                predicate_sql(part.filter, types, self.parameters, dialect=self.dialect, operands=operands)
            )
        if part.present is not None:
            conditions.append(is_present(self._term(part.present)))
        joins = [(one_join.source, self._condition(one_join)) for one_join in part.joins]
        conditions += [
            exp.Coalesce(this=named(source.alias, VISIBLE), expressions=[exp.Boolean(this=True)])
            for source, _ in joins
            if source.forbids
        ]
        query = select(selected or [one()], self._source(part.base), conditions)
        for source, condition in joins:
            join(query, self._source(source), condition)
        return query

    def _condition(self, joined: Join) -> exp.Expr | None:
        return all_true(
            exp.EQ(this=self._at(left, joined.parent), expression=self._at(right, joined.source.alias))
            for left, right in joined.pairs
        )

    def _of_shown(self, query: exp.Select, shown: str, keys: Sequence[str]) -> exp.Select:
        matches = [same(named(shown, key), named(ROWS, key)) for key in keys]
        found = select([one()], table_named(shown), matches)
        return select([exp.Star()], _rows_of(query), [exp.Exists(this=found)])

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

    # -- expressions and sources ---------------------------------------------------------------------------

    def _term(self, term: Term) -> exp.Expr:
        value = self._at(term.expression, "", dict(term.aliases))
        if term.grain is None:
            return value
        return truncated(value, term.type, term.grain, term.zone, term.fiscal_month)

    def _at(self, expression: str, alias: str, aliases: dict[str, str] | None = None) -> exp.Expr:
        """A canonical expression with its datasets replaced by the aliases they are read under."""

        def moved(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column):
                return node
            target = aliases[node.table] if aliases else alias
            self.read.setdefault(target, set()).add(node.name)
            return named(target, node.name)

        return canonical(expression).transform(moved)

    def _source(self, source: Source) -> exp.Expr:
        """The table under its alias, with only the rows that the caller may see and the columns that are read."""
        if self.dialect == "postgres":
            place = {"db": identifier(source.product)}
        else:
            place = {"db": identifier("main"), "catalog": identifier(source.product)}
        table = exp.Table(this=identifier(source.table), **place)
        kept = all_of(source.keep, TRUE if source.forbids else source.rows)
        if kept == TRUE and not source.forbids:
            table.set("alias", exp.TableAlias(this=identifier(source.alias)))
            return table
        columns: list[exp.Expr] = [named(name) for name in sorted(self.read.get(source.alias, set()))]
        if source.forbids:
            allowed = self._predicate(source.rows, source)
            columns.append(labelled(exp.Coalesce(this=allowed, expressions=[exp.Boolean(this=False)]), VISIBLE))
        where = [] if kept == TRUE else [self._predicate(kept, source)]
        return derived(select(columns or [one()], table, where), source.alias)

    def _predicate(self, predicate: Predicate, source: Source) -> exp.Expr:
        return predicate_sql(predicate, source.columns, self.parameters, dialect=self.dialect)


def _rows_of(query: exp.Select) -> exp.Subquery:
    return derived(query, ROWS)


def _percentile(value: exp.Expr, aggregate: Aggregate) -> exp.Expr:
    """Exact, over numbers as doubles; a discrete one is a value that occurs."""
    share = exp.Literal.number(0.5 if aggregate.aggregation is Aggregation.MEDIAN else aggregate.percentile)
    function = exp.PercentileDisc(this=share) if aggregate.discrete else exp.PercentileCont(this=share)
    ordered = value if aggregate.discrete else cast(value, "DOUBLE")
    return exp.WithinGroup(this=function, expression=exp.Order(expressions=[exp.Ordered(this=ordered)]))
