"""A metric query compiled to one SQL statement with bound values.

Each part is a common table expression that aggregates its own rows. Parts meet on the set of all their groups,
where NULL equals NULL: a FULL JOIN in effect, in a form that Postgres has too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlglot import exp

from semantic_layer.errors import Refused
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.plan import Formula, OutputColumn, Part, Plan
from semantic_layer.plan.planner import build_plan
from semantic_layer.plan.query import MetricQuery
from semantic_layer.plan.values import build_values_plan
from semantic_layer.plan.world import Keep, World, keep_all
from semantic_layer.policy import Grants
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.sql.build import (
    Dialect,
    all_true,
    any_true,
    cast,
    derived,
    identifier,
    join,
    labelled,
    named,
    same,
    select,
    table_named,
)
from semantic_layer.sql.cache import CompiledCache, Key, rights_of
from semantic_layer.sql.expressions import canonical
from semantic_layer.sql.parts import HERE, SIZE, PartSql, key_name
from semantic_layer.sql.predicate import Parameters, predicate_sql, render

TOTAL_ROWS = "wh.total_rows"
"""No metric or dimension can have this name."""
_COUNTED = f""",
  COUNT(*) OVER () AS "{TOTAL_ROWS}"
FROM answer"""


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

    def uncounted(self) -> str:
        """The statement's SQL, without TOTAL_ROWS where its rows are the whole answer: their reader counts them."""
        if self.plan.limit is not None or self.plan.offset:
            return self.statement.sql
        before, _, after = self.statement.sql.rpartition(_COUNTED)
        return f"{before}{_COUNTED[_COUNTED.rindex('FROM') - 1 :]}{after}"

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
    cache: CompiledCache[CompiledQuery] | None = None,
) -> CompiledQuery:
    """The query as SQL for this caller.

    `grants` are for the action metric, one a product; `discover` tells withheld names from unknown ones (without
    it a withheld name is unknown). `keep` are the rows that tombstones leave. `cache` spares compiling the same
    question twice over the same models for callers of equal rights. Raises what `build_plan` raises.
    """
    held = (*models.values(), *products.values())
    key: Key = ()
    if cache is not None:
        catalogue = tuple(map(id, held))
        key = (catalogue, repr(query), rights_of(grants), rights_of(discover), dialect, default_zone, offset)
        known = cache.get(key, keep)
        if known is not None:
            return replace(known, as_of=as_of)
    world = World(models, products, grants, discover, keep)
    compiled = _compiled(build_plan(query, world, default_zone=default_zone, offset=offset), dialect, as_of)
    if cache is not None:
        cache.put(key, compiled, {(one.product, one.table): one.keep for one in compiled.plan.sources}, held)
    return compiled


@lru_cache(maxsize=1)
def shared_compiled() -> CompiledCache[CompiledQuery]:
    """The compiled queries of this process."""
    return CompiledCache()


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
    dotted = [column.name for column in (*plan.keys, *plan.metrics) if "." in column.name]
    if dotted and dialect == "bigquery":
        raise Refused(
            f"{dotted[0]!r} cannot be the name of a column of an answer on BigQuery.",
            rule="not_supported",
            hint="Ask for names without a dot, one product at a time.",
        )
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

    def __init__(self, plan: Plan, dialect: Dialect, parameters: Parameters | None = None) -> None:
        self.plan = plan
        self.dialect: Dialect = dialect
        self.parameters = Parameters() if parameters is None else parameters
        meeting = len(plan.parts) > 1 and bool(plan.keys)
        self.marked = {alias for formula in plan.outputs for alias in _guarded(formula)} if meeting else set[str]()
        self.parts = [
            PartSql(part, self.parameters, dialect, self._nested, marked=self._is_marked(part))
            for part in plan.parts
        ]
        self.tables: dict[str, exp.Query] = {}
        self._totalling = False

    def page(self) -> Statement:
        """The asked-for rows in order, the number of all rows beside each."""
        self.tables["answer"] = self._answer()
        counted = labelled(exp.Window(this=exp.Count(this=exp.Star())), TOTAL_ROWS)
        page = select([exp.Star(), counted], table_named("answer"), self._having())
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
        self.tables["answer"] = self._answer()
        counted = labelled(exp.Count(this=exp.Star()), TOTAL_ROWS)
        return self._statement(select([counted], table_named("answer"), self._having()))

    def _nested(self, plan: Plan) -> exp.Query:
        """A plan inside this one, as a query that brings its own common tables and shares the parameters."""
        inner = _Compiler(plan, self.dialect, self.parameters)
        return inner.with_tables(inner._answer())

    def _answer(self) -> exp.Select:
        keys = [(named(self._grouping(), key), column.name) for key, column in self._keys()]
        if self.plan.extremes:
            (key,) = [key for key, _ in self._keys()[:1]]
            inner = self._from_parts([named(self._grouping(), key)])
            ends = zip((exp.Min, exp.Max), self.plan.keys, strict=True)
            return select(
                [labelled(end(this=named(key)), column.name) for end, column in ends], derived(inner, "v")
            )
        return self._from_parts([*(labelled(key, name) for key, name in keys), *self._metrics()])

    def _having(self) -> list[exp.Expr]:
        """What the answer's own rows must pass; metrics are compared as doubles."""
        given = self.plan.having
        if given is None:
            return []
        metrics = {column.name for column in self.plan.metrics}
        operands = {
            name: cast(named(name), "DOUBLE") if name in metrics else named(name) for name in given.columns
        }
        return [
            predicate_sql(given.filter, given.columns, self.parameters, dialect=self.dialect, operands=operands)
        ]

    def totals(self) -> Statement:
        """The metrics over the rows of every shown group."""
        self._totalling = True
        shown = ""
        if self.plan.having is not None:
            shown = "shown"
            self.tables["groups_shown"] = self._answer()
            keys = [labelled(named(column.name), key) for key, column in self._keys()]
            self.tables[shown] = select(keys, table_named("groups_shown"), self._having())
        elif any(part.minimum > 1 for part in self.plan.parts):
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
        for name, part in zip(names, self.parts, strict=True):
            self.tables[name] = part.grouped() if self.plan.grouped else part.listed()
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
            labelled(self._computed(formula), column.name)
            for formula, column in zip(self.plan.outputs, self.plan.metrics, strict=True)
        ]

    def _is_marked(self, part: Part) -> bool:
        return any(aggregate.alias in self.marked for aggregate in part.aggregates)

    def _computed(self, formula: Formula) -> exp.Expr:
        """A formula over the parts' columns."""

        def filled(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column):
                return node
            below = formula.inputs[node.name]
            return named(below) if isinstance(below, str) else exp.paren(self._computed(below), copy=False)

        value = canonical(formula.expression).transform(filled)
        if not self._totalling and formula.guarded and formula.aliases <= self.marked:
            here = [
                exp.Coalesce(this=named(name, HERE), expressions=[exp.Boolean(this=False)])
                for name, part in ((f"part_{number}", part) for number, part in enumerate(self.plan.parts))
                if any(aggregate.alias in formula.aliases for aggregate in part.aggregates)
            ]
            return exp.Case(ifs=[exp.If(this=any_true(here), true=value)])
        return value

    def _type_of(self, name: str) -> ColumnType | None:
        return next((column.type for column in self.plan.keys if column.name == name), None)

    def _statement(self, query: exp.Select) -> Statement:
        return Statement(render(self.with_tables(query), self.dialect, pretty=True), self.parameters.values)

    def with_tables(self, query: exp.Select) -> exp.Select:
        """The query with the common tables that it reads."""
        tables = [
            exp.CTE(this=table, alias=exp.TableAlias(this=exp.Identifier(this=name, quoted=False)))
            for name, table in sorted(self.tables.items(), key=lambda pair: _rank(pair[0]))
        ]
        query.set("with_", exp.With(expressions=tables))
        return query


def _rank(name: str) -> tuple[int, str]:
    """A table comes after those it reads."""
    order = ("part", "groups", "shown", "total", "answer")
    return next(place for place, word in enumerate(order) if name.startswith(word)), name


def _guarded(formula: Formula) -> frozenset[str]:
    """The aggregates whose presence decides whether a filled formula has a value."""
    below = [one for one in formula.inputs.values() if isinstance(one, Formula)]
    inner = frozenset[str]().union(*(_guarded(one) for one in below))
    return inner | (formula.aliases if formula.guarded and _fills(formula) else frozenset())


def _fills(formula: Formula) -> bool:
    return "COALESCE(" in formula.expression or any(
        isinstance(one, Formula) and _fills(one) for one in formula.inputs.values()
    )
