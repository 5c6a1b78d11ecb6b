"""One part of a plan as SQL: governed sources, their joins, the rows that count, and their aggregates."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from semantic_layer.metric import Aggregation
from semantic_layer.plan.plan import Aggregate, Part, Source, Term
from semantic_layer.predicate import TRUE, all_of
from semantic_layer.sql.expressions import canonical
from semantic_layer.sql.grain import truncated
from semantic_layer.sql.predicate import Dialect, Parameters, identifier, predicate_sql

VISIBLE = "row is visible"
SIZE = "row count"


def named(*parts: str) -> exp.Column:
    """A column, qualified or not."""
    return exp.column(identifier(parts[-1]), table=identifier(parts[0]) if len(parts) > 1 else None)


def labelled(expression: exp.Expr, name: str) -> exp.Expr:
    """An expression under a quoted name."""
    return exp.alias_(expression, identifier(name))


def key_name(number: int) -> str:
    """The column that holds a group's value of the plan's key at this position."""
    return f"k{number}"


def same(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Equality under which NULL equals NULL."""
    return exp.NullSafeEQ(this=left, expression=right)


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
        query = exp.select(*(named(key) for key in keys), *self._aggregates()).from_(self._rows(grouped=True))
        return query.group_by(*(named(key) for key in keys)) if keys else query

    def total(self, shown: str) -> exp.Select:
        """One row over everything, or over the rows of the groups in the table `shown` where one is named."""
        return exp.select(*self._aggregates()).from_(self._rows(grouped=False, shown=shown))

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
            query = (_layer(query, columns) if shown else query).distinct()
        if part.snapshot is not None:
            query = self._at_moment(query, grouped)
        return _subquery(query)

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
            conditions.append(exp.Is(this=self._term(part.present), expression=exp.null()).not_())
        joins = [(join, self._condition(join.parent, join.source.alias, join.pairs)) for join in part.joins]
        query = exp.select(*(selected or [exp.Literal.number(1)])).from_(self._source(part.base))
        for join, condition in joins:
            query = query.join(self._source(join.source), on=condition, join_type="LEFT", copy=False)
            if join.source.forbids:
                flag = exp.Coalesce(this=named(join.source.alias, VISIBLE), expressions=[exp.true()])
                conditions.append(flag)
        return query.where(*conditions, copy=False) if conditions else query

    def _condition(self, parent: str, alias: str, pairs: Sequence[tuple[str, str]]) -> exp.Expr:
        return exp.and_(
            *(exp.EQ(this=self._at(left, parent), expression=self._at(right, alias)) for left, right in pairs)
        )

    def _of_shown(self, query: exp.Select, shown: str, keys: Sequence[str]) -> exp.Select:
        matches = exp.and_(*(same(named(shown, key), named("r", key)) for key in keys))
        found = exp.select(exp.Literal.number(1)).from_(exp.to_table(shown)).where(matches)
        return exp.select("*").from_(_subquery(query)).where(exp.Exists(this=found))

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
        marked = exp.select("*", labelled(window, "moment")).from_(_subquery(query))
        return exp.select("*").from_(_subquery(marked)).where(exp.EQ(this=named("t"), expression=named("moment")))

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
            table = exp.table_(identifier(source.table), db=identifier(source.product))
        else:
            table = exp.table_(identifier(source.table), db=identifier("main"), catalog=identifier(source.product))
        visible = TRUE if source.forbids else source.rows
        kept = all_of(source.keep, visible)
        if kept == TRUE and not source.forbids:
            return exp.alias_(table, identifier(source.alias), table=True)
        columns: list[exp.Expr] = [named(name) for name in sorted(self.read.get(source.alias, set()))]
        if source.forbids:
            allowed = predicate_sql(source.rows, source.columns, self.parameters, dialect=self.dialect)
            columns.append(labelled(exp.Coalesce(this=allowed, expressions=[exp.false()]), VISIBLE))
        query = exp.select(*(columns or [exp.Literal.number(1)])).from_(table)
        if kept != TRUE:
            query = query.where(predicate_sql(kept, source.columns, self.parameters, dialect=self.dialect))
        return query.subquery(identifier(source.alias))


def _layer(query: exp.Select, columns: Sequence[str]) -> exp.Select:
    return exp.select(*(named(name) for name in columns)).from_(_subquery(query))


def _subquery(query: exp.Select) -> exp.Subquery:
    return query.subquery(identifier("r"))


def _percentile(value: exp.Expr, aggregate: Aggregate) -> exp.Expr:
    """Exact, over numbers as doubles; a discrete one is a value that occurs."""
    share = exp.Literal.number(0.5 if aggregate.aggregation is Aggregation.MEDIAN else aggregate.percentile)
    function = exp.PercentileDisc(this=share) if aggregate.discrete else exp.PercentileCont(this=share)
    ordered = value if aggregate.discrete else exp.cast(value, "DOUBLE")
    return exp.WithinGroup(this=function, expression=exp.Order(expressions=[exp.Ordered(this=ordered)]))
