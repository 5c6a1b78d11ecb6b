"""Reads the SQL of semantic files through an allow-list into canonical expressions, aggregates apart.

What may stand in an expression follows the Ossie expression language (Proposed Final): scalar functions and
operators, no subqueries, no windows, no functions that are not known by name. Every denominator is guarded, so
that a division by zero is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import Aggregation
from semantic_layer.product import ColumnType
from semantic_layer.sql.build import identifier

MAX_LENGTH = 20_000

_LEAVES = (exp.Literal, exp.Boolean, exp.Null, exp.Identifier, exp.Var, exp.DataType, exp.DataTypeParam)
_OPERATORS = (
    exp.Paren, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe, exp.Is, exp.In,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between,
    exp.And, exp.Or, exp.Not, exp.Like, exp.ILike, exp.Case, exp.If, exp.Interval,
)  # fmt: skip
_FUNCTIONS = (
    exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast, exp.Concat, exp.Lower, exp.Upper, exp.Trim, exp.Substring,
    exp.Length, exp.Left, exp.Right, exp.Replace, exp.StrPosition, exp.Abs, exp.Round, exp.Floor, exp.Ceil,
    exp.Greatest, exp.Least, exp.Sign, exp.Sqrt, exp.Pow, exp.Ln, exp.Exp, exp.Extract, exp.DateTrunc,
    exp.TimestampTrunc, exp.Date, exp.TsOrDsToDate, exp.Year, exp.Quarter, exp.Month, exp.Day, exp.DateAdd,
    exp.DateSub, exp.DateDiff, exp.TimestampDiff,
)  # fmt: skip
ALLOWED = frozenset(_LEAVES + _OPERATORS + _FUNCTIONS)

_AGGREGATES: Mapping[type[exp.Expr], Aggregation] = {
    exp.Sum: Aggregation.SUM,
    exp.Min: Aggregation.MIN,
    exp.Max: Aggregation.MAX,
    exp.Avg: Aggregation.AVERAGE,
    exp.Median: Aggregation.MEDIAN,
    exp.Count: Aggregation.COUNT,
}

_SQL_TYPES: Mapping[ColumnType, str] = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.NUMBER: "DOUBLE",
    ColumnType.DECIMAL: "DECIMAL(18, 2)",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.TIME: "TIME",
}


@dataclass(frozen=True)
class Scalar:
    """One canonical expression of a row: its SQL, the (dataset, column) pairs it reads, its type if known."""

    sql: str
    columns: frozenset[tuple[str, str]]
    type: ColumnType | None = None

    @property
    def datasets(self) -> frozenset[str]:
        """The datasets it reads."""
        return frozenset(dataset for dataset, _ in self.columns)


@dataclass(frozen=True)
class AggregateCall:
    """One aggregate of a formula. `dataset` is set for COUNT(*) where the formula names one."""

    aggregation: Aggregation
    argument: Scalar
    percentile: float = 0.5
    discrete: bool = False
    dataset: str = ""


@dataclass(frozen=True)
class Formula:
    """A metric's SQL taken apart: arithmetic over aliases, each an aggregate or another metric."""

    expression: str
    aggregates: Mapping[str, AggregateCall]
    metrics: tuple[str, ...]
    is_ratio: bool


Resolve = Callable[[Sequence[str]], Scalar]
"""What a name in an expression stands for, by its parts; raises UnknownName."""


def read_scalar(text: str, resolve: Resolve, *, dialect: str = "") -> Scalar:
    """An expression over one row. Raises InvalidArgument for SQL that is not allowed, UnknownName for a name."""
    reader = _Reader(resolve)
    return reader.scalar(parsed(text, dialect))


def read_formula(text: str, resolve: Resolve, *, dialect: str = "") -> Formula:
    """A metric's expression. A name outside every aggregate is another metric (`product.metric` in another).

    Raises InvalidArgument for SQL that is not allowed, UnknownName for a name inside an aggregate.
    """
    reader = _Reader(resolve)
    tree = reader.outer(parsed(text, dialect))
    _guard_divisions(tree)
    top = tree.unnest()
    operands = [top.left.unnest(), _unguarded(top.right).unnest()] if isinstance(top, exp.Div) else []
    return Formula(
        expression=tree.sql("duckdb"),
        aggregates=reader.aggregates,
        metrics=tuple(reader.metrics),
        is_ratio=len(operands) == 2 and all(isinstance(operand, exp.Column) for operand in operands),
    )


@lru_cache(maxsize=4096)
def canonical(sql: str) -> exp.Expr:
    """The tree of canonical SQL; shared, so copy it before changing it."""
    return sqlglot.parse_one(sql, read="duckdb")


def parsed(text: str, dialect: str) -> exp.Expr:
    """The one expression in this text. Raises InvalidArgument where it is no SQL or more than one statement."""
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"the expression is longer than {MAX_LENGTH} characters.")
    try:
        trees = sqlglot.parse(text, read=dialect or None)
    except (SqlglotError, RecursionError) as error:
        said = str(error).splitlines()[0].split(". Line")[0].rstrip(".")
        raise InvalidArgument(f"the expression {text!r} is not SQL: {said}.") from error
    if len(trees) != 1 or trees[0] is None:
        raise InvalidArgument(f"the expression {text!r} must be one SQL expression.")
    return trees[0]


@dataclass
class _Reader:
    resolve: Resolve
    aggregates: dict[str, AggregateCall] = field(default_factory=dict[str, AggregateCall])
    metrics: dict[str, None] = field(default_factory=dict[str, None])

    def scalar(self, tree: exp.Expr) -> Scalar:
        """The canonical form of an expression without aggregates."""
        _check(tree)
        columns: set[tuple[str, str]] = set()
        types: dict[str, ColumnType | None] = {}

        def inlined(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column):
                return node
            found = self.resolve([part.name for part in node.parts])
            columns.update(found.columns)
            types[found.sql] = found.type
            inner = canonical(found.sql).copy()
            return inner if isinstance(inner, exp.Column) else exp.paren(inner, copy=False)

        result = tree.transform(inlined)
        _guard_divisions(result)
        kind = next(iter(types.values())) if result.sql("duckdb") in types else type_of(result, types)
        return Scalar(result.sql("duckdb"), frozenset(columns), kind)

    def outer(self, tree: exp.Expr) -> exp.Expr:
        """The formula with each aggregate and metric replaced by a quoted alias."""

        def replaced(node: exp.Expr) -> exp.Expr:
            if isinstance(node, (exp.AggFunc, exp.Filter, exp.WithinGroup)):
                call = self.aggregate(node)
                alias = next((name for name, known in self.aggregates.items() if known == call), "")
                alias = alias or f"#{len(self.aggregates)}"
                self.aggregates[alias] = call
                return exp.column(identifier(alias))
            if isinstance(node, exp.Column):
                name = ".".join(part.name for part in node.parts)
                self.metrics[name] = None
                return exp.column(identifier(name))
            return node

        # Walked by hand: an aggregate is replaced whole, before anything inside it is looked at.
        result = _replace_outermost(tree.copy(), replaced)
        _check(result)
        return result

    def aggregate(self, node: exp.Expr) -> AggregateCall:
        condition: exp.Expr | None = None
        if isinstance(node, exp.Filter):
            condition = node.expression.this
            node = node.this
        percentile, discrete = 0.5, False
        if isinstance(node, exp.WithinGroup):
            percentile, discrete, argument = _percentile(node)
            return self._call(Aggregation.PERCENTILE, argument, condition, percentile, discrete)
        kind = _AGGREGATES.get(type(node))
        if kind is None:
            raise InvalidArgument(
                f"the aggregate {node.sql()} is not known.",
                hint="Use SUM, COUNT, COUNT(DISTINCT …), MIN, MAX, AVG, MEDIAN or PERCENTILE_CONT/DISC.",
            )
        argument = node.this
        if isinstance(argument, exp.Distinct):
            if kind is not Aggregation.COUNT or len(argument.expressions) != 1:
                raise InvalidArgument(f"{node.sql()}: DISTINCT is read in COUNT of one expression only.")
            return self._call(Aggregation.COUNT_DISTINCT, argument.expressions[0], condition)
        if isinstance(argument, exp.Star) or (
            isinstance(argument, exp.Column) and isinstance(argument.this, exp.Star)
        ):
            return self._count_rows(argument, condition)
        return self._call(kind, argument, condition)

    def _count_rows(self, argument: exp.Expr, condition: exp.Expr | None) -> AggregateCall:
        dataset = argument.table if isinstance(argument, exp.Column) else ""
        counted = self._call(Aggregation.COUNT, exp.Literal.number(1), condition)
        return AggregateCall(Aggregation.COUNT, counted.argument, dataset=dataset)

    def _call(
        self,
        aggregation: Aggregation,
        argument: exp.Expr,
        condition: exp.Expr | None,
        percentile: float = 0.5,
        discrete: bool = False,
    ) -> AggregateCall:
        if condition is not None:
            argument = exp.Case(ifs=[exp.If(this=condition.copy(), true=argument.copy())])
        return AggregateCall(aggregation, self.scalar(argument), percentile, discrete)


def _replace_outermost(node: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    changed = change(node)
    if changed is not node:
        return changed
    for key, value in list(node.args.items()):
        if isinstance(value, exp.Expr):
            node.set(key, _replace_outermost(value, change))
        elif isinstance(value, list):
            node.set(key, [_replace_outermost(one, change) if isinstance(one, exp.Expr) else one for one in value])
    return node


def _percentile(node: exp.WithinGroup) -> tuple[float, bool, exp.Expr]:
    function = node.this
    ordered = node.expression.expressions if isinstance(node.expression, exp.Order) else []
    if (
        not isinstance(function, (exp.PercentileCont, exp.PercentileDisc))
        or not isinstance(function.this, exp.Literal)
        or len(ordered) != 1
        or ordered[0].args.get("desc")
    ):
        raise InvalidArgument(
            f"{node.sql()} is not read.", hint="Write PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY orders.total)."
        )
    return float(function.this.name), isinstance(function, exp.PercentileDisc), ordered[0].this


def _check(tree: exp.Expr) -> None:
    """Raises InvalidArgument for the first node that is not on the allow-list."""
    for node in tree.walk():
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            continue
        if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
            raise InvalidArgument("IN takes a list of values here, not a query.")
        if type(node) not in ALLOWED:
            shown = node.name.upper() + "(…)" if isinstance(node, exp.Anonymous) else node.sql()
            raise InvalidArgument(
                f"{shown!r} may not stand in an expression.",
                hint="Scalar functions and operators over columns are read; no queries and no unknown functions.",
            )


def _guard_divisions(tree: exp.Expr) -> None:
    for node in list(tree.find_all(exp.Div, exp.IntDiv, exp.Mod)):
        divisor = node.expression
        plain = divisor.unnest()
        if isinstance(plain, exp.Nullif) or (isinstance(plain, exp.Literal) and plain.to_py() != 0):
            continue
        node.set("expression", exp.Nullif(this=divisor.copy(), expression=exp.Literal.number(0)))


def _unguarded(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Nullif) else node


def type_of(tree: exp.Expr, types: Mapping[str, ColumnType | None]) -> ColumnType | None:
    """The type of a canonical expression, told from the types of what it reads; None where it cannot be told."""

    def typed(node: exp.Expr) -> exp.Expr:
        kind = types.get(node.sql("duckdb")) if isinstance(node, exp.Column) else None
        name = _SQL_TYPES.get(kind) if kind is not None else None
        return node if name is None else exp.cast(exp.null(), name)

    annotated = annotate_types(tree.transform(typed), dialect="duckdb").type
    if annotated is None:
        return None
    if annotated.is_type(exp.DataType.Type.DECIMAL):
        return ColumnType.NUMBER if tree.find(exp.Div) else ColumnType.DECIMAL
    for kinds, column_type in (
        (exp.DataType.TEXT_TYPES, ColumnType.STRING),
        (exp.DataType.INTEGER_TYPES, ColumnType.INTEGER),
        (exp.DataType.FLOAT_TYPES, ColumnType.NUMBER),
        ({exp.DataType.Type.BOOLEAN}, ColumnType.BOOLEAN),
        ({exp.DataType.Type.DATE}, ColumnType.DATE),
        ({exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ}, ColumnType.TIMESTAMP),
        ({exp.DataType.Type.TIME}, ColumnType.TIME),
    ):
        if annotated.this in kinds:
            return column_type
    return None
