"""A metric query compiled to one SQL statement with bound values.

Each part is a common table expression that aggregates its own rows. Parts meet on the set of all their groups,
where NULL equals NULL: a FULL JOIN in effect, in a form that Postgres has too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from semantic_layer.metric import SemanticModel
from semantic_layer.plan.plan import Formula, OutputColumn, Plan
from semantic_layer.plan.planner import build_plan
from semantic_layer.plan.query import MetricQuery
from semantic_layer.plan.values import build_values_plan
from semantic_layer.plan.world import Keep, World, keep_all
from semantic_layer.policy import Grants
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.sql.build import (
    Dialect,
    all_true,
    identifier,
    join,
    labelled,
    named,
    one,
    same,
    select,
    table_named,
)
from semantic_layer.sql.expressions import canonical
from semantic_layer.sql.parts import SIZE, PartSql, key_name
from semantic_layer.sql.predicate import Parameters, render

TOTAL_ROWS = "wh.total_rows"
"""No metric or dimension can have this name."""


@dataclass(frozen=True)
class Statement:
    """SQL text and the values of its named parameters."""

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class CompiledQuery:
    """What to run. `statement` gives `columns` in order, then how many rows the whole answer has (TOTAL_ROWS).

    `limited` says that the grants withhold rows. `as_of` is the clock that the query was compiled by.
    """

    statement: Statement
    columns: tuple[OutputColumn, ...]
    metrics: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    limited: bool
    as_of: datetime
    plan: Plan
    dialect: Dialect

    def totals(self) -> Statement:
        """One row of the metrics over all shown groups, under the same rights."""
        return _Compiler(self.plan, self.dialect).totals()

    def counted(self) -> Statement:
        """Only TOTAL_ROWS, for a page past the last row."""
        return _Compiler(self.plan, self.dialect).counted()


def compile_query(
    query: MetricQuery,
    models: Mapping[str, SemanticModel],
    products: Mapping[str, DataProduct],
    grants: Grants,
    *,
    as_of: datetime,
    dialect: Dialect = "duckdb",
    discover: Grants | None = None,
    keep: Keep = keep_all,
    default_zone: str = "UTC",
    offset: int = 0,
) -> CompiledQuery:
    """The query as SQL for this caller.

    `grants` are for the action metric, one a product; `discover` tells withheld names from unknown ones (without
    it a withheld name is unknown). `keep` are the rows that tombstones leave. Raises what `build_plan` raises.
    """
    world = World(models, products, grants, discover, keep)
    plan = build_plan(query, world, default_zone=default_zone, offset=offset)
    return _compiled(plan, dialect, as_of)


def compile_values(
    dimension: str,
    models: Mapping[str, SemanticModel],
    products: Mapping[str, DataProduct],
    grants: Grants,
    *,
    limit: int,
    contains: str = "",
    dialect: Dialect = "duckdb",
    discover: Grants | None = None,
    keep: Keep = keep_all,
    default_zone: str = "UTC",
    offset: int = 0,
) -> CompiledQuery:
    """The distinct values of a dimension, and how many rows hold each, for this caller.

    Raises what `build_values_plan` raises.
    """
    world = World(models, products, grants, discover, keep)
    plan = build_values_plan(
        dimension, world, contains=contains, limit=limit, default_zone=default_zone, offset=offset
    )
    return _compiled(plan, dialect, datetime.now(UTC))


def _compiled(plan: Plan, dialect: Dialect, as_of: datetime) -> CompiledQuery:
    return CompiledQuery(
        statement=_Compiler(plan, dialect).page(),
        columns=(*plan.keys, *plan.metrics),
        metrics=plan.used_metrics,
        tables=tuple(dict.fromkeys((source.product, source.table) for source in plan.sources)),
        notes=plan.notes,
        limited=plan.limited,
        as_of=as_of,
        plan=plan,
        dialect=dialect,
    )


class _Compiler:
    """One statement out of a plan."""

    def __init__(self, plan: Plan, dialect: Dialect) -> None:
        self.plan = plan
        self.dialect: Dialect = dialect
        self.parameters = Parameters()
        self.parts = [PartSql(part, self.parameters, dialect) for part in plan.parts]
        self.tables: dict[str, exp.Query] = {}

    def page(self) -> Statement:
        """The asked-for rows in order, the number of all rows beside each."""
        keys = [labelled(named(self._grouping(), key), column.name) for key, column in self._keys()]
        self.tables["answer"] = self._from_parts([*keys, *self._metrics()])
        counted = labelled(exp.Window(this=exp.Count(this=exp.Star())), TOTAL_ROWS)
        page = select([exp.Star(), counted], table_named("answer"))
        order = [self._ordered(one.column, one.descending) for one in self.plan.order]
        if order:
            page.set("order", exp.Order(expressions=order))
        if self.plan.limit is not None:
            page.set("limit", exp.Limit(expression=exp.Literal.number(self.plan.limit)))
        if self.plan.offset:
            page.set("offset", exp.Offset(expression=exp.Literal.number(self.plan.offset)))
        return self._statement(page)

    def _ordered(self, column: str, descending: bool) -> exp.Expr:
        value: exp.Expr = named(column)
        if self.dialect == "postgres" and self._type_of(column) is ColumnType.STRING:
            value = exp.Collate(this=value, expression=identifier("C"))
        return exp.Ordered(this=value, desc=descending, nulls_first=False)

    def counted(self) -> Statement:
        """How many rows the whole answer has."""
        self.tables["answer"] = self._from_parts([one()])
        counted = labelled(exp.Count(this=exp.Star()), TOTAL_ROWS)
        return self._statement(select([counted], table_named("answer")))

    def totals(self) -> Statement:
        """The metrics over the rows of every shown group."""
        shown = ""
        if any(part.minimum > 1 for part in self.plan.parts):
            shown = "shown"
            keys = [labelled(named(self._grouping(), key), key) for key, _ in self._keys()]
            self.tables[shown] = self._from_parts(keys)
        names = [f"total_{number}" for number in range(len(self.parts))]
        self.tables.update({name: part.total(shown) for name, part in zip(names, self.parts, strict=True)})
        query = select(self._metrics(), table_named(names[0]))
        for name in names[1:]:
            join(query, table_named(name), None)
        return self._statement(query)

    # -- parts ---------------------------------------------------------------------------------------------

    def _keys(self) -> list[tuple[str, OutputColumn]]:
        return [(key_name(number), column) for number, column in enumerate(self.plan.keys)]

    def _grouping(self) -> str:
        return "part_0" if len(self.parts) == 1 else "groups"

    def _from_parts(self, columns: Sequence[exp.Expr]) -> exp.Select:
        """The columns over all groups, each part's aggregates beside them, small groups left out."""
        names = [f"part_{number}" for number in range(len(self.parts))]
        self.tables.update({name: part.grouped() for name, part in zip(names, self.parts, strict=True)})
        keys = [key for key, _ in self._keys()]
        meet = len(names) > 1 and bool(keys)
        if meet:
            self.tables["groups"] = self._all_groups(names, keys)
        enough = [
            self._large_enough(name, part.minimum)
            for name, part in zip(names, self.plan.parts, strict=True)
            if part.minimum > 1
        ]
        query = select(columns, table_named("groups" if meet else names[0]), enough)
        for name in names if meet else names[1:]:
            join(query, table_named(name), all_true(same(named("groups", key), named(name, key)) for key in keys))
        return query

    def _all_groups(self, names: Sequence[str], keys: Sequence[str]) -> exp.Query:
        groups: list[exp.Query] = [select([named(key) for key in keys], table_named(name)) for name in names]
        query = groups[0]
        for further in groups[1:]:
            query = exp.Union(this=query, expression=further, distinct=True)
        return query

    def _large_enough(self, name: str, minimum: int) -> exp.Expr:
        """A group that a part has no row of is another part's; with no groups at all, nothing is too few too."""
        size: exp.Expr = named(name, SIZE)
        if self.plan.keys:
            size = exp.Coalesce(this=size, expressions=[exp.Literal.number(minimum)])
        return exp.GTE(this=size, expression=exp.Literal.number(minimum))

    # -- outputs -------------------------------------------------------------------------------------------

    def _metrics(self) -> list[exp.Expr]:
        return [
            labelled(_computed(formula), column.name)
            for formula, column in zip(self.plan.outputs, self.plan.metrics, strict=True)
        ]

    def _type_of(self, name: str) -> ColumnType | None:
        return next((column.type for column in self.plan.keys if column.name == name), None)

    def _statement(self, query: exp.Select) -> Statement:
        tables = [
            exp.CTE(this=table, alias=exp.TableAlias(this=exp.Identifier(this=name, quoted=False)))
            for name, table in sorted(self.tables.items(), key=lambda pair: _rank(pair[0]))
        ]
        query.set("with_", exp.With(expressions=tables))
        return Statement(render(query, self.dialect, pretty=True), self.parameters.values)


def _rank(name: str) -> tuple[int, str]:
    """A table comes after those it reads."""
    order = ("part", "groups", "shown", "total", "answer")
    return next(place for place, word in enumerate(order) if name.startswith(word)), name


def _computed(formula: Formula) -> exp.Expr:
    """A formula over the parts' columns."""

    def filled(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        below = formula.inputs[node.name]
        return named(below) if isinstance(below, str) else exp.paren(_computed(below), copy=False)

    return canonical(formula.expression).transform(filled)
